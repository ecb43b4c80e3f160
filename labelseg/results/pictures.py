"""Pictures: what the stages made of an image, side by side, and the curves of a training."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from labelseg.asides.making import replacing
from labelseg.data.formats.palette import paint_over, voc_palette
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
        pen.text((left + 2, 2), _written(title), fill="black")
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


def with_legend(sheet: Image.Image, name: str, classes: Sequence[str], class_ids: Iterable[int]) -> Image.Image:
    """Put a line under a picture: the name of the image, and the colours of the classes in it.

    Args:
        sheet: The picture.
        name: Of the image; empty tells none.
        classes: Class names by id.
        class_ids: The classes to tell, in any order; what is no id of a class is left out.
    """
    palette, pen = voc_palette(), ImageDraw.Draw(sheet)
    entries = [(classes[k], tuple(palette[k].tolist())) for k in sorted(set(class_ids)) if k < len(classes)]
    rows: list[list[tuple[int, str, tuple[int, ...]]]] = []
    row: list[tuple[int, str, tuple[int, ...]]] = []
    left = 2 + (round(pen.textlength(_written(name))) + 3 * GAP if name else 0)
    for title, colour in entries:
        width = TITLE_HEIGHT + round(pen.textlength(_written(title))) + 3 * GAP
        if row and left + width > sheet.width:
            rows.append(row)
            row, left = [], 2
        row.append((left, title, colour))
        left += width
    rows.append(row)
    whole = Image.new("RGB", (sheet.width, sheet.height + len(rows) * TITLE_HEIGHT), "white")
    whole.paste(sheet, (0, 0))
    pen = ImageDraw.Draw(whole)
    pen.text((2, sheet.height + 2), _written(name), fill="black")
    for number, entries_of_row in enumerate(rows):
        top = sheet.height + number * TITLE_HEIGHT
        for start, title, colour in entries_of_row:
            pen.rectangle((start, top + 3, start + TITLE_HEIGHT - 6, top + TITLE_HEIGHT - 3), fill=colour, outline="black")
            pen.text((start + TITLE_HEIGHT, top + 2), _written(title), fill="black")
    return whole


def _written(text: str) -> str:
    """Write a text in letters that the built-in font has, letters and their accents composed."""
    return unicodedata.normalize("NFC", text).encode("latin-1", "replace").decode("latin-1")


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that the name of the file tells.

    Raises:
        UsageError: it tells none.
    """
    form = Image.registered_extensions().get(path.suffix.lower())
    if form is None:
        raise UsageError(f"--plot {path}: expected a file name that ends as pictures do, such as {path.stem or 'sheet'}.png.")
    with naming(path), replacing(path) as there:
        picture.save(there, format=form)


def paint_item(item: Mapping[str, NDArray[Any]], image: NDArray[np.uint8], clear: tuple[int, ...] = (0,)) -> NDArray[np.uint8] | None:
    """Paint the mask of an item over its image, or its scores as a glow in the colours of their classes.

    Args:
        item: Name -> array; ``mask`` (H, W), or ``scores`` (C, h, w) with ``class_ids`` (C,) and ``size``.
        image: (H, W, 3) uint8 RGB.
        clear: Ids of a mask that are not painted.

    Returns:
        (H, W, 3) uint8; None where the item has neither.
    """
    if "mask" in item:
        return paint_over(item["mask"], image, clear=clear)
    if "scores" in item and "class_ids" in item and "size" in item:
        return paint_scores(item["scores"], item["class_ids"], image)
    return None


def class_ids_in(item: Mapping[str, NDArray[Any]]) -> set[int]:
    """List the classes that an item shows."""
    return {int(k) for k in np.unique(item["mask"] if "mask" in item else item.get("class_ids", ()))}


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
        UsageError: the name of the file ends in no format that can be drawn.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("show --plot of a model needs matplotlib. Run: pip install 'labelseg[plot]'") from error
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise UsageError(f"--plot {path}: expected a file name that ends as pictures do, such as {path.stem or 'curves'}.png.")
    told = dict.fromkeys(n for record in curves for n in record)
    names = [name for name in told if name not in ("epoch", "iteration") and _is_number(curves, name)]
    figure = Figure(figsize=(4 * max(len(names), 1), 3), layout="constrained")
    for position, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), position)
        points = [(record.get("epoch", index + 1), record[name]) for index, record in enumerate(curves) if name in record]
        axes.plot(*zip(*points, strict=True), marker=".")
        axes.set(title=name, xlabel="epoch")
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    with naming(path), replacing(path) as there:
        figure.savefig(there, format=path.suffix.lower().removeprefix("."))


def _is_number(curves: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a curve holds numbers."""
    return all(isinstance(record[name], int | float) for record in curves if name in record)
