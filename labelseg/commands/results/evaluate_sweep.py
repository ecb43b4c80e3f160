"""``labelseg evaluate --sweep``: thresholds and alphas chosen on one set of masks, scored on another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import check_splits, talk, tell
from labelseg.commands.tables import format_table, percent
from labelseg.data.folder.splits import read_split
from labelseg.pipeline.instances import table_of

if TYPE_CHECKING:
    from labelseg.tuning.images import TuningImages
    from labelseg.tuning.tuner import Choice
    from labelseg.workspace import Workspace


def tell_sweep(workspace: Workspace, stages: tuple[str, ...], named: str, split: str | None, on: str | None, as_json: bool) -> None:
    """Sweep instances and tell what was found.

    Args:
        workspace: The workspace; nothing in it changes.
        stages: What to sweep; empty takes what along the chain has been computed.
        named: Set to choose on: a split, or a file that lists images.
        split: Split whose artifacts are read; None reads those of every split.
        on: Split to score; None takes all other images with masks.
        as_json: Whether to write JSON.

    Raises:
        DataError: there is no such set, or it holds no image that counts.
    """
    from labelseg.tuning.named_sets import sweep, sweep_sets, sweepable

    if named not in workspace.dataset.splits() and Path(named).is_file():
        chosen = read_split(Path(named), workspace.dataset)
    else:
        check_splits(workspace, named)
        chosen = workspace.dataset.ids(named)
    scored = workspace.dataset.ids(on) if on else None
    device = workspace.pick_device("auto")
    found: list[tuple[Choice, TuningImages]] = []
    for instance in dict.fromkeys(stages or sweepable(workspace, split)):
        images = sweep_sets(workspace, instance, split, chosen, scored)
        found.append((sweep(workspace, instance, split, images, device), images))
    if as_json:
        click.echo(json.dumps([_record(choice, images, named, on) for choice, images in found], indent=2))
    else:
        tell(sweep_table(found, named, on))
    for line in dict.fromkeys(note for _, images in found for note in images.notes):
        talk(line)
    for choice, _ in found:
        if choice.edges:
            talk(f"{choice.step}: {', '.join(choice.edges)} ended at the border of what was tried; beyond it may be better.")
    talk("Nothing was written. To choose on some masks and write it: labelseg tune")


def sweep_table(found: list[tuple[Choice, TuningImages]], named: str, on: str | None) -> str:
    """Write a row for every value that was looked for: what stood, what is best on the named set, and the scores of both on both sets."""
    rows = []
    for choice, images in found:
        counts = (f"{len(images.chosen_on):,}", *map(percent, (choice.score_before, choice.score)))
        others = (f"{len(images.held_out):,}", *map(percent, (choice.held_before, choice.held)))
        for name, value in choice.values.items():
            before = choice.before.get(name)
            key = f"{table_of(choice.table)}.{name}"
            rows.append((choice.step, key, "-" if before is None else f"{before:g}", f"{value:g}", *counts, *others))
    sets = [(f"MIOU ON {named}", f"{named}: IMAGES"), (f"MIOU ON {on or 'OTHERS'}", f"{on or 'OTHERS'}: IMAGES")]
    header = ("STAGE", "KEY", "WAS", "BEST", *(text for miou, images in sets for text in (images, f"{miou}, WAS", "BEST")))
    return format_table(header, rows, right=header[2:])


def _record(choice: Choice, images: TuningImages, named: str, on: str | None) -> dict[str, object]:
    """Put what was found of an instance into plain values."""
    return {
        **dataclasses.asdict(choice),
        "chosen_on": {"set": named, "images": list(images.chosen_on)},
        "scored_on": {"set": on, "images": list(images.held_out)},
    }
