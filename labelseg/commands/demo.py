"""``labelseg demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Place, pass_place, talk
from labelseg.commands.running import DEVICE_OPTIONS, carry_out
from labelseg.commands.tables import format_table, percent
from labelseg.commands.workspace_file import workspace_text, write_new
from labelseg.errors import UsageError
from labelseg.pipeline.config import FILE_NAME
from labelseg.pipeline.runner import RunOptions

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


@click.command()
@click.argument("folder", default="demo-workspace", type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]")
@click.option("--seed", type=click.IntRange(min=0), show_default="0", help="Seed of scenes and trainings.")
@pass_place
def demo(place: Place, folder: Path, seed: int | None, device: str, workers: int | None) -> None:
    """Make a workspace of built-in scenes, run the whole chain and score every step on unseen scenes; a few minutes on a processor.

    Scenes are drawn, so nothing is downloaded. Interrupted, the same command goes on where it stopped.
    """
    from labelseg.demo import SPLIT, TARGET, demo_tables

    demo_place = Place(place.root / folder, place.stages)
    path = demo_place.root / FILE_NAME
    if not path.exists():
        data, tables = demo_tables(seed or 0)
        demo_place.root.mkdir(parents=True, exist_ok=True)
        write_new(path, workspace_text(data, TARGET, SPLIT, tables))
    there = demo_place.config().data.get("scenes", {}).get("seed", 0)
    if seed not in (None, there):
        raise UsageError(f"{path} has seed {there}, not {seed}. Give another folder: labelseg demo DIR --seed {seed}")
    options = RunOptions(device=device, workers=workers, purpose="labelseg demo")
    carry_out(demo_place, None, None, {}, options)
    for instance in _scored(demo_place.workspace()):  # every step on scenes that no training saw
        carry_out(demo_place, instance, SPLIT, {}, options)
    click.echo(_results(demo_place.workspace()))
    talk(f"\nLook at one: labelseg -C {demo_place.root} show propagate train_0000 --plot sheet.png")


for option in DEVICE_OPTIONS:
    option(demo)


def _scored(workspace: Workspace) -> list[str]:
    """List the instances that can be scored."""
    from labelseg.scoring import scoreable

    rows = [row.instance for row in workspace.status() if row.split and scoreable(workspace.config.stage(row.instance))]
    return list(dict.fromkeys(rows))


def _results(workspace: Workspace) -> str:
    """Write the final table: items, seconds and mIoU of every stage."""
    from labelseg.scoring import score, scoreable

    rows = []
    for row in workspace.status():
        ref = workspace.ref(row.instance, row.split)
        scored = score(workspace, ref) if ref is not None and scoreable(workspace.config.stage(row.instance)) else None
        unit = "images" if row.split else "tensors"
        rows.append((row.instance, row.split, f"{row.items:,} {unit}", f"{row.seconds:.1f}", percent(scored.miou) if scored else ""))
    rows.append(("all", "", "", f"{sum(row.seconds for row in workspace.status()):.1f}", ""))
    return format_table(("STAGE", "SPLIT", "ITEMS", "SECONDS", "MIOU"), rows, right=("ITEMS", "SECONDS", "MIOU"))
