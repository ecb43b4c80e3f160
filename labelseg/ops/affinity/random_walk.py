"""Random walk of class scores over the affinities of a grid, with sparse products only.

A step moves scores by ``T = D^-1 W``: W holds ``affinity ** beta`` of the pairs and 1 on the diagonal, D its row sums. W is
symmetric, so ``T^t = D^-1/2 S^t D^1/2`` with ``S = D^-1/2 W D^-1/2``, whose eigenvalues lie in [-1, 1]. There ``x^t`` is
a short sum of Chebyshev polynomials: 256 steps cost some 60 products with S. In a grid every offset is one diagonal of S, so
S is stored as diagonals: no indices, no sorting, and products that run over contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import dia_array

from labelseg.errors import UsageError
from labelseg.ops.affinity.pairs import Offset, pair_windows

FLOAT32_TOLERANCE = 1e-4  # rounding of a walk in float32 is some 1e-6, well below this


def walk_weights(affinities: NDArray[np.floating], offsets: Sequence[Offset], beta: float, dtype: type = np.float64) -> dia_array:
    """Assemble the symmetric weights ``affinity ** beta`` of all pairs, with ones on the diagonal.

    Args:
        affinities: (n_offsets, h, w) in [0, 1], padded form; slots whose partner is outside of the grid are not read.
        offsets: (dy, dx) of the partners.
        beta: Sharpening exponent, > 0.
        dtype: Of the result.

    Returns:
        (N, N) sparse symmetric, N = h * w.

    Source: Ahn & Kwak 2018, the definition of the transition matrix (spec psa 1.8).
    """
    _check(affinities, offsets, beta)
    h, w = size = affinities.shape[1:]
    diagonals: dict[int, NDArray] = {0: np.ones(h * w, dtype)}
    for slot, (dy, dx) in zip(affinities, offsets, strict=True):
        start, _ = pair_windows(size, (dy, dx))
        if slot[start].size == 0:
            continue
        step = dy * w + dx
        # In a narrow grid two offsets can be the same step of the flat index; their cells differ, so one diagonal holds both.
        weights = diagonals.setdefault(step, np.zeros(h * w, dtype)).reshape(h, w)
        weights[start] = slot[start].astype(dtype) ** dtype(beta)
    return _symmetric_from_upper(diagonals)


def _check(affinities: NDArray[np.floating], offsets: Sequence[Offset], beta: float) -> None:
    """Refuse what makes no weights."""
    if not beta > 0:
        raise UsageError(f"beta: expected more than 0, got {beta}.")
    if len(affinities) != len(offsets):
        raise UsageError(f"random walk: expected affinities of {len(offsets)} offsets, got {len(affinities)}.")


def transition_matrix(affinities: NDArray[np.floating], offsets: Sequence[Offset], beta: float) -> dia_array:
    """Assemble the transition probabilities ``D^-1 W``; ``random_walk`` gives the same walk without them.

    Returns:
        (N, N) sparse float64, non-negative; every row sums to 1.
    """
    weights = walk_weights(affinities, offsets, beta)
    return _scale(weights, 1.0 / _degrees(weights), np.ones(weights.shape[0]))


def random_walk(
    scores: NDArray[np.floating],
    affinities: NDArray[np.floating],
    offsets: Sequence[Offset],
    *,
    beta: float = 8.0,
    steps: int = 256,
    tolerance: float = 1e-4,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Spread class scores along affinities: ``T^steps`` applied to each map. A constant map stays as it is.

    Args:
        scores: (C, h, w) float; C may be 0.
        affinities: (n_offsets, h, w) in [0, 1], padded form (see ``affinity.pair_affinities``).
        offsets: (dy, dx) of the partners.
        beta: Sharpening exponent on affinities, > 0.
        steps: Steps of the walk, >= 0.
        tolerance: Bound on the error in root mean square, relative to that of the scores (cells weighted by their row sums);
            0 takes every step, in float64.
        device: Torch device; unless it is the CPU, products are torch operations.

    Returns:
        (C, h, w) float32; each value is a convex combination of the values of its map, within the tolerance.

    Source: Ahn & Kwak 2018 (spec psa 1.8).
    """
    if steps < 0 or not 0 <= tolerance < 1:
        raise UsageError(f"random walk: expected steps >= 0 and tolerance in [0, 1), got {steps} and {tolerance}.")
    # Products are bound by memory: float32 halves their time wherever the tolerance hides its rounding.
    dtype = np.float32 if tolerance >= FLOAT32_TOLERANCE else np.float64
    coefficients = power_coefficients(steps, tolerance) if tolerance > 0 else None
    # A constant part stays as it is: taken out first, it keeps no rounding of the recurrence, which grows with the degree squared.
    means = scores.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    if not device.startswith("cpu"):
        from labelseg.ops.affinity.random_walk_torch import torch_random_walk

        _check(affinities, offsets, beta)
        rest = (scores - means).astype(dtype)
        walked = torch_random_walk(rest, affinities, offsets, beta=beta, steps=steps, coefficients=coefficients, dtype=dtype, device=device)
        return (walked + means).astype(np.float32)
    weights = walk_weights(affinities, offsets, beta, dtype)
    root = np.sqrt(_degrees(weights))
    symmetric = _scale(weights, 1 / root, 1 / root)

    walked = np.empty(scores.shape, dtype=np.float32)
    for source, mean, target in zip(scores, means.ravel(), walked, strict=True):
        start = (source.ravel() - mean).astype(dtype) * root
        end = _power(symmetric, start, steps) if coefficients is None else _chebyshev_sum(symmetric, start, coefficients)
        target[...] = (end / root + mean).reshape(target.shape)
    return walked


def power_coefficients(steps: int, tolerance: float) -> NDArray[np.float64]:
    """Expand ``x^steps`` on [-1, 1] in Chebyshev polynomials and drop the highest ones.

    The coefficient of ``T_k`` is ``2^(1 - t) binom(t, (t - k) / 2)`` (half of it for k = 0) when t - k is even, else 0.
    Coefficients are positive and sum to 1, as ``T_k(1) = 1``; what is kept is scaled to sum to 1 again, so that
    constant maps stay constant.

    Args:
        steps: t >= 0.
        tolerance: Bound on the error of the polynomial anywhere in [-1, 1].

    Returns:
        (K + 1,) float64 coefficients of T_0 .. T_K, K <= steps.
    """
    kept: list[float] = []
    total = 0.0
    # Coefficients fall off as exp(-k^2 / 2t): counted from k = 0, the sum nears 1 long before k = t. Half of the
    # tolerance is for what is left out, and half for the scaling of what is kept.
    for k in range(steps + 1):
        count = math.comb(steps, (steps - k) // 2) if (steps - k) % 2 == 0 else 0
        kept.append(count / 2**steps * (1 if k == 0 else 2))
        total += kept[-1]
        if total >= 1 - tolerance / 2:
            break
    return np.array(kept) / total


def _chebyshev_sum(matrix: dia_array, vector: NDArray, coefficients: NDArray[np.float64]) -> NDArray:
    """Evaluate the Chebyshev series of a matrix applied to a vector by ``T_(k+1) = 2 S T_k - T_(k-1)``."""
    coefficients = coefficients.astype(vector.dtype)
    total = coefficients[0] * vector
    before, current = vector, vector
    for k, coefficient in enumerate(coefficients[1:], start=1):
        product = matrix @ current
        before, current = current, (product if k == 1 else 2 * product - before)
        total += coefficient * current
    return total


def _power(matrix: dia_array, vector: NDArray, steps: int) -> NDArray:
    """Apply a matrix ``steps`` times."""
    for _ in range(steps):
        vector = matrix @ vector
    return vector


def _symmetric_from_upper(diagonals: dict[int, NDArray]) -> dia_array:
    """Mirror upper diagonals ``{step: weights}``, ``weights[i]`` between i and i + step, into a symmetric matrix."""
    size = diagonals[0].size
    data = np.zeros((2 * len(diagonals) - 1, size), diagonals[0].dtype)
    steps: list[int] = []
    for step, weights in diagonals.items():
        data[len(steps)] = weights.ravel()  # column i of row i + step: below the diagonal
        steps.append(-step)
        if step:
            data[len(steps), step:] = weights.ravel()[: size - step]  # column i + step of row i: above it
            steps.append(step)
    return dia_array((data, steps), shape=(size, size))


def _degrees(matrix: dia_array) -> NDArray:
    """Sum the rows of a symmetric matrix."""
    return matrix.data.sum(axis=0)  # by columns, which diagonal storage keeps aligned


def _scale(matrix: dia_array, rows: NDArray, columns: NDArray) -> dia_array:
    """Multiply the rows and the columns of a matrix by factors."""
    data = matrix.data * columns
    size = matrix.shape[0]
    for diagonal, step in zip(data, matrix.offsets, strict=True):
        first, last = max(step, 0), size + min(step, 0)
        diagonal[first:last] *= rows[first - step : last - step]
    return dia_array((data, matrix.offsets), shape=matrix.shape)
