"""``labelseg demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.advice import set_place
from labelseg.commands.carry_out import DEVICE_OPTIONS, carry_out
from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, percent
from labelseg.commands.workspace_file import workspace_text, write_new
from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import FILE_NAME
from labelseg.pipeline.run.options import RunOptions

if TYPE_CHECKING:
    from labelseg.commands.setup.demonstrations import Demo
    from labelseg.workspace import Workspace

SPLIT = "val"
FOLDERS = {False: "demo-workspace", True: "demo-few-masks"}


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]")
@click.option("--seed", type=click.IntRange(min=0), show_default="0", help="Seed of scenes and trainings.")
@click.option("--few-masks", is_flag=True, help="Learn from the masks of a few scenes and many scenes without, instead of from tags.")
@no_wait
@pass_invocation
def demo(invocation: Invocation, folder: Path | None, seed: int | None, few_masks: bool, device: str, workers: int | None) -> None:
    """Make a workspace of built-in scenes, run the whole chain and score every step on unseen scenes; a few minutes on a processor.

    Scenes are drawn, so nothing is downloaded. Interrupted, the same command goes on where it stopped. DIR is demo-workspace, or
    demo-few-masks.
    """
    from labelseg.commands.setup.demonstrations import FEW_MASKS, TAGS

    shown = FEW_MASKS if few_masks else TAGS
    demo_place = Invocation(invocation.root / (folder or FOLDERS[few_masks]), invocation.stages, invocation.wait)
    path = demo_place.root / FILE_NAME
    if not path.exists():
        demo_place.root.mkdir(parents=True, exist_ok=True)
        if shown.labelled:
            _write_lists(demo_place.root, shown, seed or 0)
        write_new(path, workspace_text(shown.data(seed or 0), shown.targets[0], SPLIT, shown.seeded(seed or 0)))
    there = demo_place.config().data.get("scenes", {}).get("seed", 0)
    if seed not in (None, there):
        raise UsageError(f"{path} has seed {there}, not {seed}. Give another folder: labelseg demo DIR --seed {seed}")
    set_place(demo_place.root)
    options = RunOptions(device=device, workers=workers, purpose="labelseg demo")
    carry_out(demo_place, None, None, {}, options)
    scored = shown.targets[1:] if shown.labelled else _scored(demo_place.workspace())
    for instance in scored:  # every step on scenes that no training saw
        carry_out(demo_place, instance, SPLIT, {}, options)
    tell(_results(demo_place.workspace()))
    instance = shown.targets[0] if shown.labelled else "propagate"
    talk(f"\nLook at one: labelseg show {instance} {'val' if shown.labelled else 'train'}_0000 --plot sheet.png")


def _write_lists(root: Path, shown: Demo, seed: int) -> None:
    """Choose the scenes that keep their masks, and list them and the others."""
    from labelseg.commands.setup.demonstrations import FEW, MANY
    from labelseg.data.dataset import open_dataset
    from labelseg.data.folder.choosing import choose_images

    dataset = open_dataset(root, {"scenes": {**shown.scenes, "seed": seed}})
    ids = dataset.ids("train")
    few = choose_images({image_id: dataset.tags(image_id) or () for image_id in ids}, shown.labelled, seed)
    (root / "splits").mkdir(exist_ok=True)
    for name, listed in ((FEW, few), (MANY, sorted(set(ids) - set(few)))):
        (root / "splits" / f"{name}.txt").write_text("".join(f"{image_id}\n" for image_id in listed))


for option in DEVICE_OPTIONS:
    option(demo)


def _scored(workspace: Workspace) -> list[str]:
    """List the instances that can be scored."""
    from labelseg.results.scores import scoreable

    rows = [row.instance for row in workspace.status() if row.split and scoreable(workspace.config.stage(row.instance))]
    return list(dict.fromkeys(rows))


def _results(workspace: Workspace) -> str:
    """Write the final table: items, seconds and mIoU of every stage."""
    from labelseg.results.scores import score, scoreable

    rows = []
    for row in workspace.status():
        ref = workspace.ref(row.instance, row.split)
        scored = score(workspace, ref) if ref is not None and scoreable(workspace.config.stage(row.instance)) else None
        unit = "images" if row.split else "tensors"
        rows.append((row.instance, row.split, f"{row.items:,} {unit}", f"{row.seconds:.1f}", percent(scored.miou) if scored else ""))
    rows.append(("all", "", "", f"{sum(row.seconds for row in workspace.status()):.1f}", ""))
    return format_table(("STAGE", "SPLIT", "ITEMS", "SECONDS", "MIOU"), rows, right=("ITEMS", "SECONDS", "MIOU"))
