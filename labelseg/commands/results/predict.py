"""``labelseg predict``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from labelseg.commands.carry_out import with_device
from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.results.outputs import demand_own_folder, refuse_other_classes, write_classes
from labelseg.errors import ItemsFailedError, UsageError
from labelseg.pipeline.plan.reasons import reasons_text
from labelseg.wording import counted


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder to write to.")
@click.option("--confidence", is_flag=True, help="Write confidences/NAME.png as well: the probability of the chosen class, 255 = certain.")
@click.option("--overlay", is_flag=True, help="Write overlays/NAME.jpg as well: the mask over the image.")
@click.option(
    "--with", "instance", default="segment", show_default=True, metavar="STAGE", help="Instance whose model and parameters to use."
)
@click.option(
    "--tile",
    type=click.IntRange(min=0),
    metavar="PIXELS",
    help="Segment photos at the size of their files, in tiles of this side, a multiple of 64; 0 segments them whole.  "
    "[default: that of the instance]",
)
@click.option("--overlap", type=click.IntRange(min=4), metavar="PIXELS", help="Pixels that tiles share.  [default: that of the instance]")
@with_device
@pass_invocation
def predict(
    invocation: Invocation,
    files: tuple[Path, ...],
    output: Path,
    confidence: bool,
    overlay: bool,
    instance: str,
    tile: int | None,
    overlap: int | None,
    device: str,
    workers: int | None,
) -> None:
    """Segment image files, or all images in folders, with the trained segmenter.

    Each becomes masks/NAME.png in the folder, a palette PNG of class ids in the colours of Pascal VOC; classes.txt names the classes.
    A file that cannot be read is reported and left out; the exit code is then 3. After an interruption the same command goes on: what
    was made by the same model and parameters from the same photo is not made again.
    """
    from labelseg.pipeline.engines.messages import Computed, Failed, Message, Written
    from labelseg.pipeline.engines.progress import show_progress
    from labelseg.results.loose_images import Predictions, find_images

    workspace = invocation.workspace()
    _refuse_inputs(files, output)
    images = find_images(files)
    demand_own_folder(workspace, output)
    tiles = {name: value for name, value in (("tile", tile), ("overlap", overlap)) if value is not None}
    predictions = Predictions(workspace, instance, images, output, confidence=confidence, overlay=overlay, tiles=tiles)
    refuse_other_classes(output, instance, predictions.classes)
    stage, params = workspace.config.stage(instance), workspace.config.params(instance)
    models = {source.instance for source in stage.sources(params)}
    for row in workspace.status():
        if row.instance in models and not row.fresh:
            talk(f"{row.instance} is {row.state}: {reasons_text(row.reasons)}. Using the existing result.")
    done = predictions.done()
    if done:
        talk(f"{counted(len(done), 'image')} of {len(images):,} done before.")
    for name in images:
        if name in done:
            click.echo(os.fsencode(predictions.wanted.paths(name)[0]))
    todo = [name for name in images if name not in done]
    with show_progress(len(images), "predict", len(done)) as progress:

        def watch(message: Message) -> None:
            if isinstance(message, Written):
                for name, _ in message.places:
                    click.echo(os.fsencode(predictions.wanted.paths(name)[0]))
            elif isinstance(message, Failed):
                talk(message.error)
            if isinstance(message, Computed | Failed):
                progress.update(1)

        failed = predictions.compute(todo, device, workers, watch).failed if todo else []
    if len(failed) < len(images):
        write_classes(output, predictions.classes)
    if failed:
        raise ItemsFailedError(f"{len(failed):,} of {counted(len(images), 'image')} could not be segmented.")


def _refuse_inputs(files: Iterable[Path], output: Path) -> None:
    """Refuse to write where the images are read: the results would be images of the next call."""
    target = output.resolve()
    for path in files:
        folder = path.resolve()
        if path.is_dir() and (target.is_relative_to(folder) or folder.is_relative_to(target / "masks")):
            raise UsageError(f"-o {output}: the images of {path} are read from there. Choose another folder.")
