"""Images too large for a network: overlapping tiles whose scores flow into each other, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import UsageError

GRID = 64  # tiles begin at multiples of it, on which the cells of networks fall at every scale of quarters

Span = tuple[int, int]
Block = tuple[slice, slice]  # rows and columns


def check_tiles(tile: int, overlap: int, where: str) -> None:
    """Refuse tiles that cannot be laid.

    Args:
        tile: Side of a tile, pixels.
        overlap: Of neighbours, pixels.
        where: Begins the error.

    Raises:
        UsageError: the tile is no multiple of 64, or the overlap no multiple of 4 of at most half of it.
    """
    if tile < GRID or tile % GRID:
        raise UsageError(f"{where} tile: expected a multiple of {GRID} pixels, got {tile}.")
    if overlap % 4 or not 0 < overlap <= tile // 2:
        raise UsageError(f"{where} overlap: expected a multiple of 4 from 4 to {tile // 2}, half of the tile, got {overlap}.")


def tile_spans(length: int, tile: int, overlap: int) -> list[Span]:
    """List the (start, end) of tiles along one side; all begin at multiples of 64, neighbours share ``overlap`` pixels or more.

    Args:
        length: Of the side, pixels.
        tile, overlap: As ``check_tiles`` lets pass.
    """
    if length <= tile:
        return [(0, length)]
    step = max((tile - overlap) // GRID, 1) * GRID
    last = -(-(length - tile) // GRID) * GRID
    return [(start, start + tile) for start in range(0, last, step)] + [(last, length)]


def tile_weights(spans: list[Span], overlap: int) -> list[NDArray[np.float32]]:
    """Weigh the pixels of each tile along one side, (n,) float32 each; at every pixel those of all tiles sum to 1.

    A quarter of the overlap next to a border within the image counts nothing, for there a network sees the border; over the next half the
    weight rises evenly.
    """
    length, margin = spans[-1][1], overlap // 4
    raw = []
    for start, end in spans:
        place = np.arange(end - start) + 0.5
        from_start = (place - margin) / (2 * margin) if start else np.ones(end - start)
        from_end = (end - start - place - margin) / (2 * margin) if end < length else np.ones(end - start)
        raw.append(np.clip(np.minimum(from_start, from_end), 0, 1))
    total = np.zeros(length)
    for (start, end), weights in zip(spans, raw, strict=True):
        total[start:end] += weights
    return [(weights / total[start:end]).astype(np.float32) for (start, end), weights in zip(spans, raw, strict=True)]


def blend_tiles(
    size: tuple[int, int], tile: int, overlap: int, compute: Callable[[Block], NDArray[np.float32]]
) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Compute scores of an image tile by tile, and give each block of them as soon as no further tile adds to it.

    Held are one tile and a strip of ``overlap`` rows as wide as the image. Where a network looks no further than a quarter of the overlap
    the result is that of the whole image.

    Args:
        size: (H, W) of the image.
        tile: Side of a tile.
        overlap: Pixels that neighbours share at least.
        compute: Gives the scores (K, h, w) of a block.

    Returns:
        Blocks that cover the image once, with their scores (K, h, w).
    """
    rows, columns = (tile_spans(side, tile, overlap) for side in size)
    down, across = tile_weights(rows, overlap), tile_weights(columns, overlap)
    above: NDArray[np.float32] | None = None
    for row, (top, bottom) in enumerate(rows):
        kept = rows[row + 1][0] if row + 1 < len(rows) else bottom  # where the next row of tiles begins
        strip: NDArray[np.float32] | None = None
        beside: NDArray[np.float32] | None = None
        for column, (left, right) in enumerate(columns):
            end = columns[column + 1][0] if column + 1 < len(columns) else right
            scores = compute((slice(top, bottom), slice(left, right))) * across[column]
            if beside is not None:
                scores[:, :, : beside.shape[2]] += beside
            beside = scores[:, :, end - left :].copy()
            done = scores[:, :, : end - left] * down[row][:, None]
            if above is not None:
                done[:, : above.shape[1]] += above[:, :, left:end]
            if strip is None:
                strip = np.empty((len(done), bottom - kept, size[1]), np.float32)
            strip[:, :, left:end] = done[:, kept - top :]
            yield (slice(top, kept), slice(left, end)), done[:, : kept - top]
        above = strip
