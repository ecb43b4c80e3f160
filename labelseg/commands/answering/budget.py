"""``labelseg budget``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.tables import format_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@pass_invocation
def budget(invocation: Invocation, as_json: bool) -> None:
    """Tell what the rounds of labor-annotate cost and brought: pixels asked and labelled, by class, and the grid they lie on.

    ASKED is what was paid, over all rounds; LABELLED are those of them whose class the person could tell.
    """
    from labelseg.results.budgets import budgets

    spent = budgets(invocation.workspace())
    if as_json:
        click.echo(json.dumps([asdict(one) for one in spent], indent=2))
        return
    if not spent:
        talk("Nothing was asked yet: labor-annotate has never run here. Run: labelseg labor-annotate --round 1")
        return
    header = ("ANSWERS", "SPLIT", "GRID", "IMAGES", "THIS ROUND", "ASKED", "LABELLED", "AN IMAGE", "OF ALL PIXELS")
    rows = [
        (one.instance, one.split, one.grid or "several", f"{one.images:,}", f"{one.now:,}", f"{one.asked:,}", f"{one.labelled:,}",
         f"{one.asked / max(one.images, 1):.1f}", f"{100 * one.share:.4f} %")
        for one in spent
    ]  # fmt: skip
    tell(format_table(header, rows, right=header[3:]))
    names = [one.instance for one in spent]
    counts = [(name, *(f"{one.by_class[name]:,}" for one in spent)) for name in spent[0].by_class]
    tell("\n" + format_table(("CLASS", *names), counts, right=names))
