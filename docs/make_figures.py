"""Draw docs/images/chain.png: what the steps of the chain make of a few built-in scenes.

Run, after ``labelseg demo``: ``python docs/make_figures.py [WORKSPACE]``. Rows are the first scenes of the training split, not chosen
ones; ``--ids`` takes others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from labelseg import Workspace
from labelseg.data.formats.palette import colorize, voc_palette
from labelseg.ops.cam import resize_maps

TITLES = ("image", "CAM", "refined", "propagated", "truth")
ROWS = 4
ZOOM, GAP, HEAD, FOOT = 1.5, 8, 28, 30
INK, PAPER = (30, 30, 30), (255, 255, 255)

Picture = NDArray[np.uint8]


def row_pictures(workspace: Workspace, image_id: str, split: str) -> list[Picture]:
    """Draw the pictures of one scene, in the order of ``TITLES``."""
    image = workspace.dataset.image(image_id)
    cam = workspace["cam", split][image_id]
    return [
        image,
        heat_picture(image, cam["scores"], cam["class_ids"]),
        mask_picture(image, workspace["refine", split][image_id]["mask"]),
        mask_picture(image, workspace["propagate", split][image_id]["mask"]),
        mask_picture(image, workspace.dataset.mask(image_id)),
    ]


def heat_picture(image: Picture, scores: NDArray[Any], class_ids: NDArray[Any]) -> Picture:
    """Paint activation maps over the grey image: the colour of the strongest class, as opaque as it is strong."""
    maps = resize_maps(scores, image.shape[:2])
    if len(maps) == 0:
        return grey(image)
    opacity = 0.85 * maps.max(axis=0)[..., None]
    colours = voc_palette()[np.asarray(class_ids)[maps.argmax(axis=0)]]
    return np.round(colours * opacity + grey(image) * (1 - opacity)).astype(np.uint8)


def mask_picture(image: Picture, mask: NDArray[np.uint8]) -> Picture:
    """Paint a mask over the grey image; background stays grey."""
    return np.where((mask == 0)[..., None], grey(image), colorize(mask, grey(image), 0.75)).astype(np.uint8)


def grey(image: Picture) -> Picture:
    """Take the colours out of an image and dim it."""
    return np.repeat((image.mean(axis=2, keepdims=True) * 0.7 + 40).astype(np.uint8), 3, axis=2)


def sheet(rows: Sequence[Sequence[Picture]], titles: Sequence[str], legend: Sequence[tuple[str, tuple[int, ...]]]) -> Image.Image:
    """Lay rows of pictures out under titles, with the colours of the classes below.

    Args:
        rows: Pictures of one size in each row.
        titles: One for each column.
        legend: (class, its colour).
    """
    enlarged = [[Image.fromarray(p).resize((round(p.shape[1] * ZOOM), round(p.shape[0] * ZOOM)), Image.Resampling.BICUBIC) for p in row]
                for row in rows]  # fmt: skip
    cell = max(picture.width for row in enlarged for picture in row)
    heights = [row[0].height for row in enlarged]
    width = len(titles) * (cell + GAP) + GAP
    canvas = Image.new("RGB", (width, HEAD + sum(heights) + GAP * len(rows) + FOOT), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, title in enumerate(titles):
        draw.text((GAP + column * (cell + GAP) + cell // 2, HEAD // 2), title, INK, font, anchor="mm")
    top = HEAD
    for row, height in zip(enlarged, heights, strict=True):
        for column, picture in enumerate(row):
            canvas.paste(picture, (GAP + column * (cell + GAP) + (cell - picture.width) // 2, top))
        top += height + GAP
    left = GAP
    for name, colour in legend:
        draw.rectangle((left, top + 4, left + 14, top + 18), colour)
        draw.text((left + 20, top + 11), name, INK, font, anchor="lm")
        left += 36 + round(draw.textlength(name, font))
    return canvas


def main() -> None:
    """Draw the figure from a finished workspace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", nargs="?", type=Path, default=Path("demo-workspace"))
    parser.add_argument("--split", default="train")
    parser.add_argument("--ids", nargs="+", help=f"scenes to draw; the first {ROWS} of the split by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "chain.png")
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    ids = options.ids or workspace["propagate", options.split].ids[:ROWS]
    shown = {k for image_id in ids for k in workspace.dataset.tags(image_id) or ()}
    legend = [(workspace.dataset.classes[k], tuple(map(int, voc_palette()[k]))) for k in sorted(shown)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure = sheet([row_pictures(workspace, image_id, options.split) for image_id in ids], TITLES, legend)
    figure.quantize(256).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
