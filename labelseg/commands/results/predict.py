"""``labelseg predict``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.results.outputs import demand_own_folder
from labelseg.errors import ItemsFailedError, LabelsegError, UsageError
from labelseg.file_kinds import naming
from labelseg.pipeline.files.mishaps import ends_all
from labelseg.pipeline.files.paths import below
from labelseg.pipeline.plan.reasons import reasons_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder to write to.")
@click.option("--confidence", is_flag=True, help="Write NAME.confidence.png as well: the probability of the chosen class, 255 = certain.")
@click.option("--overlay", is_flag=True, help="Write NAME.overlay.jpg as well: the mask over the image.")
@click.option(
    "--with", "instance", default="segment", show_default=True, metavar="STAGE", help="Instance whose model and parameters to use."
)
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="Device to compute on: auto, cpu, cuda, cuda:1.")
@pass_invocation
def predict(
    invocation: Invocation, files: tuple[Path, ...], output: Path, confidence: bool, overlay: bool, instance: str, device: str
) -> None:
    """Segment image files, or all images in folders, with the trained segmenter.

    Each becomes NAME.png, a palette PNG of class ids in the colours of Pascal VOC. A file that cannot be read is
    reported and left out; the exit code is then 3.
    """
    from labelseg.pipeline.engines.progress import show_progress
    from labelseg.results.loose_images import find_images, segmenter

    workspace = invocation.workspace()
    images = find_images(files)
    _check_overwrites(images, output)
    demand_own_folder(workspace, output)
    stage, params = workspace.config.stage(instance), workspace.config.params(instance)
    models = {source.instance for source in stage.sources(params)}
    segment = segmenter(workspace, instance, images, device)
    for row in workspace.status():
        if row.instance in models and not row.fresh:
            talk(f"{row.instance} is {row.state}: {reasons_text(row.reasons)}. Using the existing result.")
    failed: list[str] = []
    with show_progress(len(images), "predict") as progress:
        for name, file in images.items():
            try:
                _write(output, name, file, segment(name), confidence, overlay)
            except Exception as error:
                # One bad image must not end the work on ten thousand; a full disk is no fault of an image.
                if ends_all(error):
                    raise
                failed.append(name)
                message = str(error) if isinstance(error, LabelsegError) else f"{file}: {type(error).__name__}: {error}"
                talk(message)
            else:
                click.echo(os.fsencode(output / f"{name}.png"))
            progress.update(1)
    if failed:
        raise ItemsFailedError(f"{len(failed):,} of {len(images):,} images could not be segmented.")


def _write(output: Path, name: str, file: Path, item: Mapping[str, NDArray[Any]], confidence: bool, overlay: bool) -> None:
    """Write the files of one image that were asked for."""
    import numpy as np
    from PIL import Image

    from labelseg.data.folder.images import read_image
    from labelseg.data.formats.png import write_overlay, write_palette_png

    path = below(output, f"{name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_palette_png(item["mask"], path)
    if confidence:
        if "confidence" not in item:
            raise UsageError("--confidence: the stage writes no confidence. Leave it out.")
        grey = np.round(item["confidence"].astype(np.float32) * 255).astype(np.uint8)
        with naming(output / f"{name}.confidence.png"):
            Image.fromarray(grey).save(output / f"{name}.confidence.png")
    if overlay:
        write_overlay(item["mask"], read_image(file), output / f"{name}.overlay.jpg")


def _check_overwrites(images: Mapping[str, Path], output: Path) -> None:
    """Refuse to write a mask over one of the images."""
    given = {file.resolve() for file in images.values()}
    for name in images:
        if (output / f"{name}.png").resolve() in given:
            raise UsageError(f"-o {output}: {name}.png there is one of the images. Choose another folder.")
