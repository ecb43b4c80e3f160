"""Pairs of neighbouring grid cells: which offsets a radius holds, and which pairs lie in a grid.

A set of pairs is written as a padded stack: slot ``[k, y, x]`` belongs to the pair of cell ``(y, x)`` and its partner
``(y, x) + offsets[k]``. Slots whose partner is outside of the grid are invalid. Only one half plane of offsets is kept,
because a pair and its mirror are the same. The form fits every grid down to a single cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import UsageError

Offset = tuple[int, int]
Window = tuple[slice, slice]


def pair_offsets(radius: int, *, strict: bool = True) -> tuple[Offset, ...]:
    """List the half plane of offsets ``(dy, dx)`` closer than ``radius``: the cells right of the centre, then the rows below it.

    Args:
        radius: Distance in grid cells, >= 1.
        strict: Keep distances < radius, as the published code does; otherwise <= radius, as the paper says.

    Returns:
        The offsets row by row and left to right: 34 for radius 5 (40 when not strict).

    Source: Ahn & Kwak 2018; order and strictness of the published code (spec psa 1.7).
    """
    if radius < 1:
        raise UsageError(f"radius: expected at least 1, got {radius}.")
    limit = radius * radius - (1 if strict else 0)
    return tuple((dy, dx) for dy in range(radius + 1) for dx in range(1 if dy == 0 else -radius, radius + 1) if dy * dy + dx * dx <= limit)


def pair_windows(size: tuple[int, int], offset: Offset) -> tuple[Window, Window]:
    """Cut the grid into the cells that have a partner at ``offset``, and those partners: two windows of one shape.

    Args:
        size: (h, w) of the grid.
        offset: (dy, dx) with dy >= 0.

    Returns:
        Index pairs for the last two axes; both are empty when the grid is too small for the offset.
    """
    (h, w), (dy, dx) = size, offset
    rows = max(h - dy, 0)
    left, right = max(-dx, 0), max(w - max(dx, 0), 0)
    if left >= right:
        left = right = 0
    start = (slice(0, rows), slice(left, right))
    partner = (slice(dy, dy + rows), slice(left + dx, right + dx) if left < right else slice(0, 0))
    return start, partner


def pair_validity(size: tuple[int, int], offsets: Sequence[Offset]) -> NDArray[np.bool_]:
    """Mark the slots whose partner is inside the grid.

    Args:
        size: (h, w) of the grid.
        offsets: From a cell to its partner, cells.

    Returns:
        (len(offsets), h, w) bool.
    """
    valid = np.zeros((len(offsets), *size), dtype=bool)
    for slot, offset in zip(valid, offsets, strict=True):
        slot[pair_windows(size, offset)[0]] = True
    return valid


def psa_origins(size: tuple[int, int], radius: int) -> NDArray[np.bool_]:
    """Mark the cells that the published code lets a pair start from: ``radius - 1`` away from the left, right and lower border.

    It is how that code keeps partners inside of the grid; it also loses pairs between border cells. Multiply by it to
    reproduce published numbers.

    Returns:
        (h, w) bool; empty of True where the published code would fail.

    Source: published PSA code (spec psa 1.7, 1.8).
    """
    h, w = size
    margin = radius - 1
    origins = np.zeros(size, dtype=bool)
    origins[: max(h - margin, 0), margin : max(w - margin, margin)] = True
    return origins


def psa_pair_indices(radius: int, size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the pairs of the published code as flat row-major indices.

    Returns:
        (n,) index of each origin, and (n_offsets, n) index of its partner at every offset.

    Source: published PSA code (spec psa 1.7).
    """
    origins = np.flatnonzero(psa_origins(size, radius))
    steps = np.array([dy * size[1] + dx for dy, dx in pair_offsets(radius)], dtype=np.int64)
    return origins, origins[None, :] + steps[:, None]
