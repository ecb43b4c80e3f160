"""``labelseg quality``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, percent, printable
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.quality.kept import ImageQuality


@click.command()
@click.argument("instance", metavar="[STAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split whose masks to weigh.")
@click.option(
    "--worst", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Images to list, the least trusted first."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with every image and the parts of each class.")
@pass_invocation
def quality(invocation: Invocation, instance: str | None, split: str | None, worst: int, as_json: bool) -> None:
    """Tell how far each mask can be trusted, without true masks: the last masks of the chain, or those of STAGE.

    Quality is the mean, over the classes of an image, of how far the stages agree on the class, how much of its own maps is left after
    sharpening, and how confident they are; it is 0 where mask and tags differ. All lie between 0 and 100. Only what has changed is
    measured anew. Then: labelseg view, or labelseg export --min-quality
    """
    from labelseg.pipeline.engines.progress import show_progress
    from labelseg.quality.chain import masked_ref
    from labelseg.quality.measuring import measure
    from labelseg.results.standing import ref_name

    workspace = invocation.workspace()
    ref = masked_ref(workspace, instance or "", split)
    with show_progress(ref.count, f"quality {ref.instance}") as progress:
        measured, troubles = measure(workspace, ref, step=progress.update)
    workspace.index.save()
    if as_json:
        click.echo(json.dumps({**asdict(measured), "left_out": troubles}, indent=2))
    else:
        tell(_table(measured.worst(worst)))
        known = [image.quality for image in measured.images if image.quality is not None]
        mean = f", {percent(sum(known) / len(known))} on average" if known else ""
        talk(f"{ref_name(ref)}: quality of {counted(len(known), 'image')}{mean}.")
    for name, error in troubles.items():
        talk(f"{printable(name)} was left out: {error}")


def _table(images: list[ImageQuality]) -> str:
    """Write a row for each image, with its worst class."""
    truth = any(image.miou is not None for image in images)
    rows = []
    for image in images:
        by_class = [(parts["quality"], name) for name, parts in image.classes.items() if parts["quality"] is not None]
        score, name = min(by_class, default=(None, "-"))
        row = (printable(image.id), *map(percent, (image.quality, image.agreement, image.kept, image.confidence)))
        rows.append((*row, f"{printable(name)} {percent(score)}", *([percent(image.miou)] if truth else [])))
    header = ("IMAGE", "QUALITY", "AGREEMENT", "KEPT", "CONFIDENCE", "WORST CLASS", *(["MIOU"] if truth else []))
    return format_table(header, rows, right=("QUALITY", "AGREEMENT", "KEPT", "CONFIDENCE", "MIOU"))
