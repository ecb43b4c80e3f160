"""The random walk against dense squaring, as the published code does it, and against plain sparse steps.

Floor at 47 x 63 cells, radius 5 and 4 maps: some 60 products of 69 diagonals, 2,961 cells and 4 maps are 49 M multiply-adds, and 0.8 MB of
diagonals read for each map and product, 0.2 GB from the cache in all: 3 to 5 ms. Raising affinities to a power and assembling adds 2 ms.
Dense squaring takes 8 x 2,961^3 = 208 G multiply-adds. At 8 megapixels the diagonals no longer fit any cache, and memory is the limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import against, alone
from labelseg.ops.affinity.pairs import Offset, pair_offsets, pair_validity, pair_windows
from labelseg.ops.affinity.random_walk import random_walk

BETA, STEPS, MAPS = 8.0, 256, 4


def dense_squaring(scores: NDArray, affinities: NDArray, offsets: tuple[Offset, ...]) -> NDArray:
    """Fill the n x n matrix, normalise its columns and square it eight times."""
    _, h, w = affinities.shape
    cells = np.arange(h * w).reshape(h, w)
    matrix = np.eye(h * w, dtype=np.float32)
    for slot, offset in zip(affinities, offsets, strict=True):
        start, partner = pair_windows((h, w), offset)
        matrix[cells[start].ravel(), cells[partner].ravel()] = slot[start].ravel()
        matrix[cells[partner].ravel(), cells[start].ravel()] = slot[start].ravel()
    matrix **= np.float32(BETA)
    matrix /= matrix.sum(axis=0, keepdims=True)
    for _ in range(8):
        matrix = matrix @ matrix
    return (scores.reshape(len(scores), -1) @ matrix).reshape(scores.shape)


def random_case(h: int, w: int) -> tuple[NDArray, NDArray, tuple[Offset, ...]]:
    """Scores and affinities of a grid with regions, seeded."""
    rng = np.random.default_rng(0)
    offsets = pair_offsets(5)
    regions = np.kron(rng.integers(0, 4, (h // 8 + 1, w // 8 + 1)), np.ones((8, 8), int))[:h, :w]
    affinities = np.zeros((len(offsets), h, w), np.float32)
    for slot, offset in zip(affinities, offsets, strict=True):
        start, partner = pair_windows((h, w), offset)
        slot[start] = np.where(regions[start] == regions[partner], 0.95, 0.6) * rng.uniform(0.9, 1, regions[start].shape)
    return rng.random((MAPS, h, w), dtype=np.float32), affinities * pair_validity((h, w), offsets), offsets


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    scores, affinities, offsets = random_case(47, 63)
    exact = dense_squaring(scores, affinities, offsets)
    walked = random_walk(scores, affinities, offsets, beta=BETA, steps=STEPS)
    same = float((walked.argmax(axis=0) == exact.argmax(axis=0)).mean())

    def ours(tolerance: float = 1e-4) -> NDArray:
        return random_walk(scores, affinities, offsets, beta=BETA, steps=STEPS, tolerance=tolerance)

    rows = [
        against(
            "walk 47x63, radius 5, 256 steps, 4 maps, tolerance 1e-4",
            ours,
            "dense squaring",
            lambda: dense_squaring(scores, affinities, offsets),
            rounds=1 if quick else 3,
            labels_equal=same,
            largest_difference=float(np.abs(walked - exact).max()),
        ),
        against("walk 47x63, tolerance 1e-4", ours, "every sparse step (tolerance 0)", lambda: ours(0.0)),
    ]
    large, links, offsets = random_case(128, 256)
    rows.append(alone("walk 128x256, tolerance 1e-4", lambda: random_walk(large, links, offsets, beta=BETA, steps=STEPS)))
    return rows
