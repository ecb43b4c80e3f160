"""``labelseg dag``."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, pass_invocation, tell
from labelseg.commands.tables import format_table, one_line

if TYPE_CHECKING:
    from labelseg.results.dependencies import Dependency, Read


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "json"]),
    default="text",
    show_default=True,
    help="A table, a Mermaid flow chart, or JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@pass_invocation
def dag(invocation: Invocation, form: str, as_json: bool) -> None:
    """Tell what reads what among the stages and instances, and how each stands.

    What is read comes before what reads it. `masks` is the ground truth of the data.
    """
    from labelseg.results.dependencies import dependencies, mermaid

    workspace = invocation.workspace()
    found = dependencies(workspace)
    if as_json or form == "json":
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
    else:
        tell(mermaid(found) if form == "mermaid" else _table(found))
    with suppress(OSError):  # digests that cannot be kept are computed again
        workspace.index.save()


def _table(found: list[Dependency]) -> str:
    """Write a row for every instance in every split."""
    rows = [(entry.instance, entry.split, entry.state, "; ".join(map(_read, entry.reads))) for entry in found]
    return format_table(("STAGE", "SPLIT", "STATE", "READS"), [tuple(map(one_line, row)) for row in rows])


def _read(read: Read) -> str:
    """Write what is read in a role: ``cam: cam (train)``."""
    name = f"{read.instance} ({read.split})" if read.split else read.instance
    return f"{read.role.replace('_', '-')}: {name}"
