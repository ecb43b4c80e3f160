"""Where points lie in a permutohedral lattice: the simplex around each, and how its vertices are named."""

from __future__ import annotations

from math import prod, sqrt
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelseg.errors import UsageError

LARGEST_KEY = 1 << 62


class Simplices(NamedTuple):
    """The simplex around each of n points in d dimensions, as a path along its d + 1 vertices.

    The first vertex is a multiple of d + 1 in every coordinate. Each further one is a step along one axis from the one before: down by d
    in that coordinate and up by 1 in the others.

    Attributes:
        origin: (d + 1, n) float32: the first vertex, divided by d + 1.
        residual: (d + 1, n) float32: what lies between it and the point, divided by d + 1.
        position: (d + 1, n) int8: when the path steps along this axis; the coordinates by ascending residual.
    """

    origin: Tensor
    residual: Tensor
    position: Tensor


def enclosing_simplices(features: Tensor) -> Simplices:
    """Find the simplex around each point.

    Args:
        features: (d, n) float32, in standard deviations of the Gaussian.

    Returns:
        Simplices of the lattice whose blur, [1/2, 1, 1/2] along each axis, has about that deviation.

    Source: Adams, Baek & Davis 2010, "Fast high-dimensional filtering using the permutohedral lattice".
    """
    # Colours are whole numbers, so many points lie on the side of a simplex, where rounding decides which vertices exist and so what the
    # blur reaches. Scales, their precision and the order of operations are those with which pydensecrf comes to the same vertices.
    d, n = features.shape
    deviation = float(np.float32(sqrt(2 / 3) * (d + 1)))
    place = features.new_empty(d + 1, n)
    later = features.new_zeros(n)
    for j in range(d, 0, -1):
        scaled = features[j - 1] * float(np.float32(deviation / sqrt(j * (j + 1))))
        place[j] = later - j * scaled
        later = later + scaled
    place[0] = later

    fraction = float(np.float32(1 / (d + 1)))
    origin = torch.round(place * fraction)
    residual = place - origin * (d + 1)
    start = torch.arange(d, -1, -1, dtype=torch.int8, device=features.device)
    position = start[:, None] - origin.sum(dim=0).to(torch.int8)
    for i in range(d + 1):
        for j in range(i + 1, d + 1):
            below = (residual[i] < residual[j]).view(torch.int8)
            position[j] += below
            position[i] -= below
    # Rounding may leave the plane where coordinates sum to 0: then the first or last of the order take one step more.
    turn = (position > d).view(torch.int8) - (position < 0).view(torch.int8)
    return Simplices(origin + turn, residual * fraction - turn, position - turn * (d + 1))


def key_code(features: NDArray[np.float32]) -> tuple[NDArray[np.int64], int]:
    """Choose how a vertex is named by one number: the sum of its coordinates, each times a factor, and a constant.

    Args:
        features: (d, n) points.

    Returns:
        Factors of the d + 1 coordinates, 0 for the last, which follows from the others; and the constant. The names of all vertices
        around the points and next to these differ.

    Raises:
        UsageError: The points are too many deviations apart for 64 bits.
    """
    d = len(features)
    ends = np.stack([features.min(axis=1), features.max(axis=1)], axis=1).astype(np.float64)
    ends *= (d + 1) * np.array([[sqrt(2 / 3) / sqrt(j * (j + 1))] for j in range(1, d + 1)])
    later = np.cumsum(ends[::-1], axis=0)[::-1]
    own = np.arange(d)[:, None] * np.concatenate([[[0, 0]], ends[:-1, ::-1]])
    margin = 3 * (d + 1)
    low, high = np.floor(later - own).T + np.array([[-margin], [margin]])
    extents = [int(extent) for extent in high - low + 1]
    if prod(extents) > LARGEST_KEY:
        raise UsageError("dense CRF: the image spans too many deviations of a kernel. Choose larger ones: --sxy, --srgb")
    factors = [prod(extents[:j]) for j in range(d)]
    return np.array([*factors, 0], np.int64), -sum(int(first) * factor for first, factor in zip(low, factors, strict=True))
