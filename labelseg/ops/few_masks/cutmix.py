"""Boxes for CutMix and for cutout."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

Box = tuple[int, int, int, int]

NO_BOX: Box = (0, 0, 0, 0)
_ATTEMPTS = 1000


def cutmix_box(size: tuple[int, int], rng: Generator, probability: float = 0.5) -> Box:
    """Draw a box to fill from another image.

    Its area is uniform in 2 % to 40 % of the image and is drawn once; its height over width is uniform in [0.3, 1/0.3] and, like its
    corner, drawn again until the box lies inside.

    Args:
        size: (H, W).
        rng: Draws: whether, the area, then ratio, column and row until they fit.
        probability: Of there being a box.

    Returns:
        (top, left, height, width); ``NO_BOX`` where there is none.

    Source: Yang et al. 2023; unimatch.md 1.5.
    """
    height, width = size
    is_drawn = rng.random() < probability
    area = rng.uniform(0.02, 0.4) * height * width
    for _ in range(_ATTEMPTS if is_drawn else 0):
        ratio = rng.uniform(0.3, 1 / 0.3)
        across, down = int(np.sqrt(area / ratio)), int(np.sqrt(area * ratio))
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        if left + across <= width and top + down <= height:
            return top, left, down, across
    return NO_BOX


def cutout_box(size: tuple[int, int], half: int, rng: Generator) -> Box:
    """Draw a square of side ``2 half`` whose middle is uniform over the image (H, W), cut at its borders. Draws: row, column.

    Returns:
        (top, left, height, width).

    Source: Zou et al. 2021; pseudoseg.md 1.8.
    """
    spans = []
    for side in size:
        middle = int(rng.integers(0, side))
        low, high = max(0, middle - half), min(side, middle + half)
        spans.append((low, high - low))
    (top, height), (left, width) = spans
    return top, left, height, width
