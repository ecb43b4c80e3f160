"""Crops of random area and shape, enlarged or reduced to one size."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
Mask = TypeVar("Mask", Array, None)

AREA = (0.5, 2.0)
ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
_THIN = 32  # aspect beyond which only the middle is enlarged


def random_resized_crop(image: Array, size: int, rng: Generator, mask: Mask = None) -> tuple[Array, Mask]:  # type: ignore[assignment]
    """Cut a rectangle of random area and aspect and resize it to a square, bilinearly, its mask to the nearest neighbour.

    The area is drawn from 0.5 to 2 times the image's. What does not fit is drawn again, ten times at most, so the field of view
    only ever shrinks; where nothing fits, the middle is cut, as large as the aspects allow.

    Args:
        image: (H, W, 3) uint8.
        size: Side of the result.
        rng: Draws: ten areas, ten aspects, the place.
        mask: (H, W) uint8.

    Source: published WILSON code, after torchvision's RandomResizedCrop; spec wilson 1.6.
    """
    height, width = image.shape[:2]
    areas = rng.uniform(*AREA, _TRIES) * height * width
    aspects = np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), _TRIES))
    place = rng.random(2)
    for area, aspect in zip(areas, aspects, strict=True):
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            top, left = (int(share * (spare + 1)) for share, spare in zip(place, (height - down, width - across), strict=True))
            break
    else:
        across, down = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
        top, left = (height - down) // 2, (width - across) // 2
    box = (left, top, left + across, top + down)
    cut = np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))
    if mask is None:
        return cut, None
    return cut, np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST, box=box))


def short_side_crop(image: Array, mask: Array, size: int) -> tuple[Array, Array]:
    """Resize image (bilinear) and mask (nearest) so that the shorter side is ``size``, and cut the square in the middle."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    down, across = max(size, int(height * scale)), max(size, int(width * scale))
    top, left = (down - size) // 2, (across - size) // 2
    kinds = (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
    if max(down, across) > _THIN * size:  # the whole of a strip, enlarged, would not fit in memory
        rows, columns = height / down, width / across
        box = (left * columns, top * rows, (left + size) * columns, (top + size) * rows)
        cut = [np.array(Image.fromarray(array).resize((size, size), kind, box)) for array, kind in zip((image, mask), kinds, strict=True)]
        return cut[0], cut[1]
    resized = [np.array(Image.fromarray(array).resize((across, down), kind)) for array, kind in zip((image, mask), kinds, strict=True)]
    return resized[0][top : top + size, left : left + size], resized[1][top : top + size, left : left + size]
