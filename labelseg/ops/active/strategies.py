"""Other ways to choose which pixels of an image are asked: by chance, by uncertainty, or by uncertainty where predictions are mixed.

Source: Xie et al. 2022 (RIPU), published code, for impurity and its suppression; Shin et al. 2021 (PixelPick) for chance among the most
uncertain; spec labor 1.7 and 1.9.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

_SMALL = 1e-6


def seeded(seed: int, image_id: str, round_: int) -> np.random.Generator:
    """Make the generator of one image in one round, whatever other images there are."""
    text = f"{seed}:{round_}:{image_id}".encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()))


def chance_points(free: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose pixels by chance, each equally likely.

    Args:
        free: (H, W) bool, those that may be asked.
        count: How many; fewer where there are no more.
        rng: Source of chance.

    Returns:
        (n, 2) int64 rows and columns in row-major order.
    """
    places = np.flatnonzero(free.ravel())
    chosen = np.sort(rng.permutation(places)[:count])
    return np.stack(np.unravel_index(chosen, free.shape), axis=1)


def highest_points(scores: NDArray, free: NDArray[np.bool_], count: int, radius: int = 0) -> NDArray[np.int64]:
    """Choose the pixels of highest score, one after the other.

    Args:
        scores: (H, W) float.
        free: (H, W) bool, those that may be asked.
        count: How many; fewer where there are no more.
        radius: Half the side of the square around a chosen pixel in which no other is chosen; 0 suppresses none.

    Returns:
        (n, 2) int64 rows and columns, the highest first; the first in row-major order among equals.

    Source: Xie et al. 2022, published code; it goes through columns before rows among equals.
    """
    left = np.where(free, np.asarray(scores, np.float64), -np.inf)
    if radius == 0:
        order = np.argsort(-left.ravel(), kind="stable")[: min(count, int(free.sum()))]
        return np.stack(np.unravel_index(order, free.shape), axis=1)
    found: list[tuple[int, int]] = []
    while len(found) < count and np.isfinite(left).any():
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        found.append((int(row), int(column)))
        left[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1] = -np.inf
    return np.array(found, np.int64).reshape(-1, 2)


def chance_of_highest(scores: NDArray, free: NDArray[np.bool_], count: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose pixels by chance among those of highest score.

    Args:
        scores, free, count, rng: As of the functions above.
        share: Of the pixels that may be asked, of which the highest are drawn from; never fewer than ``count``.

    Returns:
        (n, 2) int64 rows and columns in row-major order.

    Source: Shin et al. 2021 (PixelPick): ten an image and round among the 5 % of smallest margin.
    """
    pool = highest_points(scores, free, max(count, int(np.ceil(share * free.sum()))))
    among = np.zeros_like(free)
    among[pool[:, 0], pool[:, 1]] = True
    return chance_points(among, count, rng)


def entropy(probabilities: NDArray) -> NDArray[np.float64]:
    """Compute the entropy (H, W) of predictions (K, H, W), natural logarithm; a probability of 0 adds nothing."""
    p = np.asarray(probabilities, np.float64)
    return -(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum(axis=0)


def narrowness(probabilities: NDArray) -> NDArray[np.float64]:
    """Compute minus the margin between the two most probable classes, (H, W) in [-1, 0], of predictions (K, H, W)."""
    two = np.partition(np.asarray(probabilities, np.float64), -2, axis=0)[-2:]
    return two[0] - two[1]


def region_impurity(classes: NDArray, n_classes: int, radius: int) -> NDArray[np.float64]:
    """Compute the entropy of the classes that occur in the square around each pixel; what lies outside of the image does not count.

    Args:
        classes: (H, W) predicted class ids.
        n_classes: Number of classes.
        radius: Half the side of the square, pixels.

    Returns:
        (H, W) float64, natural logarithm.

    Source: Xie et al. 2022, published code.
    """
    counts = np.stack([_box_sums((classes == k).astype(np.float64), radius) for k in range(n_classes)])
    shares = counts / counts.sum(axis=0)
    return -(shares * np.log(shares + _SMALL)).sum(axis=0)


def mixed_uncertainty(probabilities: NDArray, radius: int, averaged: bool = False) -> NDArray[np.float64]:
    """Multiply region impurity with prediction uncertainty (RIPU).

    Args:
        probabilities: (K, H, W).
        radius: Half the side of the region, pixels.
        averaged: Take the mean entropy of the region, as the published code does for regions; else that of the pixel, as for pixels.

    Returns:
        (H, W) float64.

    Source: Xie et al. 2022, published code: its factors of 1 / log K, for regions alone, change no order and are left out.
    """
    p = np.asarray(probabilities, np.float64)
    own = -(p * np.log(p + _SMALL)).sum(axis=0)
    if averaged:
        own = _box_sums(own, radius) / _box_sums(np.ones_like(own), radius)
    return region_impurity(p.argmax(axis=0), len(p), radius) * own


def _box_sums(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Sum (H, W) over the square around each pixel, zeros outside."""
    ones = np.ones(2 * radius + 1)
    return convolve1d(convolve1d(values, ones, axis=0, mode="constant"), ones, axis=1, mode="constant")
