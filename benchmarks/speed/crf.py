"""The dense CRF against pydensecrf, in seconds of one core each: both label exponents of ``refine`` at once, and one stack alone.

Floor, for n pixels, m vertices of the 5-D lattice (some n / 15 at the wide kernel) and C channels sent (one label of each stack follows
from the others). An iteration takes 9 n C multiply-adds to splat and as many to slice, 6 m C for the blur, and an exponential a label.
It reads 72 bytes of vertices and weights a pixel and 4 a label; rows of 4 C bytes are read and written in the cache. At 375 x 500 with
two stacks of two labels that is 6.8 M multiply-adds and 16 MB: 1 to 2 ms. Some three times that is reached, because rows of 8 bytes are
addressed one by one: instructions are the limit, not bytes. Building the lattice adds what five iterations take.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import against, alone
from labelseg.data.scenes.drawing import make_scene
from labelseg.ops.cam import with_background
from labelseg.ops.crf.dense_crf import dense_crf_pair

SIZE, ALPHAS = (375, 500), (4.0, 32.0)


def photo(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A scene with the noise of a sensor."""
    image = np.asarray(Image.fromarray(make_scene(0).image).resize(size[::-1], Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def readings(labels: int, size: tuple[int, int]) -> list[NDArray[np.float32]]:
    """Smooth maps of all labels but background, at both exponents."""
    coarse = np.random.default_rng(0).random((labels - 1, 5, 6)).astype(np.float32) ** 2
    maps = np.stack([np.asarray(Image.fromarray(cells).resize(size[::-1], Image.Resampling.BICUBIC)) for cells in coarse]).clip(0, 1)
    return [with_background(maps / maps.max(axis=(1, 2), keepdims=True), alpha) for alpha in ALPHAS]


def compare(name: str, image: NDArray[np.uint8], stacks: list[NDArray[np.float32]], rounds: int) -> dict[str, Any]:
    """Time both on one job, and compare their marginals."""

    def refined(backend: str) -> list[NDArray[np.float32]]:
        return dense_crf_pair(image, stacks, backend=backend)

    pairs = list(zip(refined("native"), refined("pydensecrf"), strict=True))
    same = [(ours.argmax(axis=0) == theirs.argmax(axis=0)).mean() for ours, theirs in pairs]
    return against(
        name,
        lambda: refined("native"),
        "pydensecrf",
        lambda: refined("pydensecrf"),
        rounds=rounds,
        clock=time.process_time,
        labels_equal=float(min(same)),
        largest_difference=float(max(np.abs(ours - theirs).max() for ours, theirs in pairs)),
    )


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    image, rounds, rows = photo(SIZE), 3 if quick else 7, []
    for labels in (2, 4) if quick else (2, 4, 21):
        stacks = readings(labels, SIZE)
        rows.append(compare(f"CRF 375x500, {labels} labels, two exponents", image, stacks, rounds))
        rows.append(compare(f"CRF 375x500, {labels} labels, one exponent", image, stacks[:1], rounds))
    stacks = readings(4, SIZE)
    name = "CRF 375x500, 4 labels, two exponents, tolerance 1e-3"
    rows.append(alone(name, lambda: dense_crf_pair(image, stacks, tolerance=1e-3), clock=time.process_time))
    if not quick:
        large = (1500, 2000)
        rows.append(compare("CRF 1500x2000, 4 labels, one exponent", photo(large), readings(4, large)[:1], rounds=2))
    return rows
