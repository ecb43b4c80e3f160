"""Choosing one of several settings by their scores: the middle of what is high, rather than a lone peak."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.001  # scores nearer than this say nothing of which setting is better


def smoothed(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average every score of a grid with those of its neighbours, diagonal ones included; NaN counts nowhere.

    Args:
        scores: (N1, ..., Nd), a score for each setting; NaN where there is none.

    Returns:
        The same shape, float64; NaN where a setting has no score itself. At a border there are fewer neighbours to average.
    """
    values = np.asarray(scores, dtype=np.float64)
    padded = np.pad(values, 1, constant_values=np.nan)
    shifts = product(range(3), repeat=values.ndim)
    around = np.stack([padded[tuple(slice(s, s + n) for s, n in zip(shift, values.shape, strict=True))] for shift in shifts])
    known = ~np.isnan(around)
    total = np.where(known, around, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(np.isnan(values), np.nan, total)


def plateau_middle(scores: NDArray[np.floating]) -> tuple[int, ...]:
    """Choose a setting of a grid whose neighbours are good as well.

    The score of a setting counts no more than those of its neighbours: the highest mean of all of them wins (``smoothed``). Of settings
    whose means differ by less than 0.001 that which lies nearest to the middle of them all is taken, and of several such the first.

    Args:
        scores: (N1, ..., Nd) with at least one number; NaN where a setting has no score.

    Returns:
        The place of the setting in the grid.
    """
    means = smoothed(scores)
    best = np.argwhere(means >= np.nanmax(means) - ALIKE)
    distances = ((best - best.mean(axis=0)) ** 2).sum(axis=1)
    return tuple(int(place) for place in best[int(distances.argmin())])
