"""Affinities between features that were never trained to give any: how far two of them point the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelseg.ops.affinity.pairs import Offset, pair_windows


def cosine_affinities(features: NDArray[np.floating], offsets: Sequence[Offset]) -> NDArray[np.float32]:
    """Measure how alike the features of each pair are: ``max(0, cos(f_i, f_j))``. Their lengths count for nothing.

    Args:
        features: (h, w, D) float; a feature of zeros is like none.
        offsets: (dy, dx) of the partners.

    Returns:
        (n_offsets, h, w) float32 in [0, 1], padded form; 0 where the partner is outside of the grid.

    Source: ours, in the place of the affinities of Ahn & Kwak 2018; the walk over it is theirs.
    """
    unit = unit_features(features)
    affinities = np.zeros((len(offsets), *unit.shape[:2]), np.float32)
    for slot, offset in zip(affinities, offsets, strict=True):
        start, partner = pair_windows(unit.shape[:2], offset)
        np.einsum("ijk,ijk->ij", unit[start], unit[partner], out=slot[start])
    return np.clip(affinities, 0.0, 1.0, out=affinities)


def unit_features(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Divide each feature by its length; one of zeros stays.

    Args:
        features: (..., D) float, of any scale: float16 holds values whose squares it does not.

    Returns:
        (..., D) float32, of length 1 or 0.
    """
    values = features.astype(np.float32)
    largest = np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
    scaled = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)  # no square of it leaves the range of float32
    length = np.sqrt(np.einsum("...k,...k->...", scaled, scaled))[..., None]
    return np.divide(scaled, length, out=scaled, where=length > 0)
