"""Labels of single pixels under resizing: a pixel may vanish between the samples of a mask that shrinks, a coordinate does not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resize_points(points: NDArray[np.integer], before: tuple[int, int], after: tuple[int, int]) -> NDArray[np.int64]:
    """Find the pixels of a resized image that hold the middles of given pixels.

    Args:
        points: (n, 2) rows and columns in an image of size ``before`` = (H, W).
        after: (H', W') of the resized image.

    Returns:
        (n, 2) int64, inside of the resized image.
    """
    middles = (np.asarray(points, np.float64).reshape(-1, 2) + 0.5) * (np.array(after) / np.array(before))
    return np.clip(np.floor(middles).astype(np.int64), 0, np.array(after) - 1)


def mark_points(
    mask: NDArray[np.uint8], points: NDArray[np.integer], labels: NDArray[np.uint8], before: tuple[int, int]
) -> NDArray[np.uint8]:
    """Write labels of pixels into a mask that was resized, so that none is lost.

    Args:
        mask: (H', W') class ids.
        points: (n, 2) rows and columns in the image before it was resized; of several that meet in a pixel the last one stays.
        labels: (n,) class ids.
        before: (H, W) of that image.

    Returns:
        (H', W'), a copy.
    """
    marked = mask.copy()
    places = resize_points(points, before, (mask.shape[0], mask.shape[1]))
    marked[places[:, 0], places[:, 1]] = labels
    return marked
