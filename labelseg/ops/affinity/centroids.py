"""Which cells lie on one object: those whose displacements lead to the same centre. For instances; no stage runs it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelseg.errors import UsageError

NEAR = 2.5  # cells; a displacement shorter than that marks a cell of a centre
NEIGHBOURS = np.ones((3, 3), bool)


def follow_displacements(displacement: NDArray[np.floating], iterations: int = 100) -> NDArray[np.float32]:
    """Go on from where displacements lead: ``D <- D(x) + D0(x + D(x))``, read bilinearly, within the grid.

    Args:
        displacement: (2, h, w) float, (dy, dx) in cells.
        iterations: How often.

    Returns:
        (2, h, w) float32, from every cell to where its way has led.

    Raises:
        UsageError: the array has another shape.

    Source: Ahn, Cho & Kwak 2019, refinement of the displacement field. Ways end at the border of the grid.
    """
    if displacement.ndim != 3 or len(displacement) != 2:
        raise UsageError(f"displacements: expected an array of shape (2, h, w), got {displacement.shape}.")
    first = displacement.astype(np.float64)
    cells = np.indices(first.shape[1:], dtype=np.float64)
    last_cell = np.array(first.shape[1:], np.float64).reshape(2, 1, 1) - 1
    place = np.clip(cells + first, 0, last_cell)
    for _ in range(iterations):
        step = np.stack([ndimage.map_coordinates(axis, place, order=1, mode="nearest") for axis in first])
        place = np.clip(place + step, 0, last_cell)
    return (place - cells).astype(np.float32)


def group_by_centroids(displacement: NDArray[np.floating], near: float = NEAR, iterations: int = 100) -> NDArray[np.int32]:
    """Group cells by the centre that their displacements lead to.

    A centre is a connected group (of 8 neighbours) of cells whose own displacement is shorter than ``near``.

    Args:
        displacement: (2, h, w) float, (dy, dx) in cells.
        near: In cells.
        iterations: Of ``follow_displacements``.

    Returns:
        (h, w) int32: 1, 2, ... for each centre, in the order of its first cell; 0 where the way ends at none. Background, whose
        displacements are about 0, is a group as well: cut the groups by a semantic mask.

    Raises:
        UsageError: the array has another shape.

    Source: Ahn, Cho & Kwak 2019, centroids as groups of cells with small displacements.
    """
    way = follow_displacements(displacement, iterations)
    centres, _ = ndimage.label(np.hypot(*displacement.astype(np.float64)) < near, structure=NEIGHBOURS)
    rows, columns = np.rint(np.indices(way.shape[1:]) + way).astype(np.intp)
    return centres[rows, columns].astype(np.int32)
