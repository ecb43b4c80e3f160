"""Writing masks as files that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelseg.asides.making import aside, clear_asides
from labelseg.data.formats.palette import paint_over, voc_palette
from labelseg.file_kinds import naming


def write_palette_png(mask: NDArray[np.uint8], path: Path) -> None:
    """Write a mask (H, W) uint8 as PNG whose palette indices are the class ids; colours are those of Pascal VOC.

    The file appears whole or not at all.
    """
    image = Image.fromarray(np.ascontiguousarray(mask)).convert("L")
    image.putpalette(voc_palette().tobytes())
    _save(image, path)


def write_grey_png(values: NDArray[np.uint8], path: Path) -> None:
    """Write values (H, W) uint8 as a grey PNG. The file appears whole or not at all."""
    _save(Image.fromarray(np.ascontiguousarray(values)), path)


def _save(image: Image.Image, path: Path, **settings: int) -> None:
    """Save a picture in the format of its name, whole or not at all."""
    with aside(path) as there, naming(path):
        image.save(there, format="JPEG" if path.suffix == ".jpg" else "PNG", **settings)
        there.replace(path)


def write_overlay(mask: NDArray[np.uint8], image: NDArray[np.uint8], path: Path, clear: tuple[int, ...] = (0,)) -> None:
    """Write a mask (H, W) over its image (H, W, 3) uint8 as ``paint_over`` does, as JPEG; whole or not at all."""
    _save(Image.fromarray(paint_over(mask, image, clear=clear)), path, quality=90)


def export_masks(
    masks: Iterable[tuple[str, NDArray[np.uint8]]],
    folder: Path,
    image_of: Callable[[str], NDArray[np.uint8]] | None = None,
    *,
    grey: bool = False,
    clear: tuple[int, ...] = (0,),
) -> int:
    """Write each (id, mask) to ``folder/<id>.png``, making folders as ids name them; what a killed export left there goes.

    Args:
        masks: Pairs of id and mask (H, W) uint8.
        folder: Where to write.
        grey: Write class ids as grey values, without a palette, which some readers apply.
        clear: As of ``write_overlay``.
        image_of: Reads the image of an id; then ``folder/overlays/<id>.jpg`` is written too, where no reader of masks takes it for one.

    Returns:
        The number of masks.
    """
    count, folders = 0, {folder}
    for image_id, mask in masks:
        path = folder / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.add(path.parent)
        (write_grey_png if grey else write_palette_png)(mask, path)
        if image_of is not None:
            overlay = folder / "overlays" / f"{image_id}.jpg"
            overlay.parent.mkdir(parents=True, exist_ok=True)
            folders.add(overlay.parent)
            write_overlay(mask, image_of(image_id), overlay, clear)
        count += 1
    for written in folders:
        clear_asides(written)
    return count
