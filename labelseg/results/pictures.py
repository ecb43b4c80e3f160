"""Pictures: what the stages made of an image, side by side, and the curves of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from labelseg.data.formats.palette import colorize, voc_palette
from labelseg.errors import MissingExtraError, UsageError
from labelseg.file_kinds import naming
from labelseg.ops.cam import resize_maps

PANEL_HEIGHT = 240
TITLE_HEIGHT = 16
GAP = 4


def draw_sheet(panels: Sequence[tuple[str, NDArray[np.uint8]]]) -> Image.Image:
    """Put images (H, W, 3) of one size side by side under their titles."""
    height, width = panels[0][1].shape[:2]
    size = (max(round(width * PANEL_HEIGHT / height), 1), PANEL_HEIGHT)
    sheet = Image.new("RGB", (len(panels) * (size[0] + GAP) - GAP, PANEL_HEIGHT + TITLE_HEIGHT), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (title, pixels) in enumerate(panels):
        left = index * (size[0] + GAP)
        # Class colours must not mix at the rims of objects.
        sheet.paste(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST), (left, TITLE_HEIGHT))
        pen.text((left + 2, 2), title, fill="black")
    return sheet


def stack_sheets(rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]]) -> Image.Image:
    """Put rows of titled images (H, W, 3), those of a row of one size, under each other."""
    sheets = [draw_sheet(row) for row in rows]
    stack = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height + GAP for sheet in sheets) - GAP), "white")
    top = 0
    for sheet in sheets:
        stack.paste(sheet, (0, top))
        top += sheet.height + GAP
    return stack


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that the name of the file tells.

    Raises:
        UsageError: it tells none.
    """
    if path.suffix.lower() not in Image.registered_extensions():
        raise UsageError(f"--plot {path}: expected a file name that ends as pictures do, such as {path.stem or 'sheet'}.png.")
    with naming(path):
        picture.save(path)


def paint_item(item: Mapping[str, NDArray[Any]], image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Paint the mask of an item over its image, or its scores as a glow in the colours of their classes.

    Args:
        item: Name -> array; ``mask`` (H, W), or ``scores`` (C, h, w) with ``class_ids`` (C,) and ``size``.
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8; None where the item has neither.
    """
    if "mask" in item:
        return colorize(item["mask"], image)
    if "scores" in item and "class_ids" in item and "size" in item:
        return paint_scores(item["scores"], item["class_ids"], image)
    return None


def paint_scores(scores: NDArray[np.floating], class_ids: NDArray[np.integer], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend the colour of the strongest class into an image, by its score.

    Args:
        scores: (C, h, w) in [0, 1]; C may be 0.
        class_ids: (C,).
        image: (H, W, 3).
    """
    if len(class_ids) == 0:
        return image
    maps = resize_maps(scores, (image.shape[0], image.shape[1]))
    colors = voc_palette()[np.asarray(class_ids)[maps.argmax(axis=0)]]
    share = np.clip(maps.max(axis=0), 0.0, 1.0)[..., None]
    return np.round(colors * share + image * (1 - share)).astype(np.uint8)


def plot_curves(curves: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw every number of a training's curves against the epoch.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("show --plot of a model needs matplotlib. Run: pip install 'labelseg[plot]'") from error
    names = [name for name in dict.fromkeys(n for record in curves for n in record) if name != "epoch" and _is_number(curves, name)]
    figure = Figure(figsize=(4 * max(len(names), 1), 3), layout="constrained")
    for position, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), position)
        points = [(record.get("epoch", index + 1), record[name]) for index, record in enumerate(curves) if name in record]
        axes.plot(*zip(*points, strict=True), marker=".")
        axes.set(title=name, xlabel="epoch")
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    with naming(path):
        figure.savefig(path)


def _is_number(curves: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a curve holds numbers."""
    return all(isinstance(record[name], int | float) for record in curves if name in record)
