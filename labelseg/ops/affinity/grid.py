"""Between images and the coarser grid that a network sees: averages down, bilinear up, cells staying where they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelseg.ops.cam import resize_maps


def to_grid(maps: NDArray[np.floating], size: tuple[int, int], stride: int, *, count_padding: bool = False) -> NDArray[np.float32]:
    """Bring maps to an image's size and average them over the cells of its grid.

    Args:
        maps: (C, h, w) at any size.
        size: (H, W) of the image that the network sees.
        stride: Pixels of a cell's side; cells at the right and lower border may be cut.
        count_padding: See ``block_mean``.

    Returns:
        (C, ceil(H / stride), ceil(W / stride)) float32.
    """
    return block_mean(resize_maps(maps, size), stride, count_padding=count_padding)


def from_grid(maps: NDArray[np.floating], stride: int, grid_size: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Enlarge grid maps bilinearly by the stride, cut off what is beyond the image, and bring them to ``size``.

    Args:
        maps: (C, h, w) on the grid.
        stride: Pixels of a cell's side.
        grid_size: (H, W) of the image that the network saw.
        size: (H, W) of the result.

    Returns:
        (C, H, W) float32.
    """
    _, rows, columns = maps.shape
    enlarged = resize_maps(maps, (rows * stride, columns * stride))[:, : grid_size[0], : grid_size[1]]
    return enlarged if size == grid_size else resize_maps(enlarged, size)


def block_mean(maps: NDArray[np.floating], block: int = 8, *, count_padding: bool = False) -> NDArray[np.float32]:
    """Average maps over square blocks; those at the right and lower border may be cut.

    Args:
        maps: (..., H, W) float.
        block: Side of a block in pixels.
        count_padding: Average a cut block as if zeros filled it up, as the published code does; otherwise over its pixels alone.

    Returns:
        (..., ceil(H / block), ceil(W / block)) float32.
    """
    *_, height, width = maps.shape
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(np.add.reduceat(maps, rows, axis=-2, dtype=np.float64), columns, axis=-1)
    if count_padding:
        return (sums / block**2).astype(np.float32)
    heights, widths = np.minimum(height - rows, block), np.minimum(width - columns, block)
    return (sums / (heights[:, None] * widths)).astype(np.float32)
