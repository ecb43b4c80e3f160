"""How the walk and the dense CRF grow: with the size of the image, from 0.5 to 8 megapixels, and with classes, from 2 to 80.

Every job runs in a process of its own, which tells the time of a second call and the most memory it held above what it held before. Floor:
both are linear in pixels and in classes, but for what an image costs whatever its classes: the lattice of the CRF, the links of the walk.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.scale.memory import peak_megabytes
from benchmarks.speed.crf import photo, readings
from benchmarks.speed.walk import BETA, STEPS, random_case
from benchmarks.timing import seconds
from labelseg.ops.affinity.random_walk import random_walk
from labelseg.ops.crf.dense_crf import dense_crf

STRIDE, MEGAPIXELS, CLASSES = 8, (0.5, 1, 2, 4, 8), (2, 8, 21, 80)
VOC, WIDE = (375, 500), (1024, 2048)  # the second is a grid of 128 x 256


def walk(size: tuple[int, int], classes: int) -> Callable[[], Any]:
    """Walk the maps of the classes over the stride-8 grid of an image."""
    _, affinities, offsets = random_case(-(-size[0] // STRIDE), -(-size[1] // STRIDE))
    scores = np.random.default_rng(0).random((classes, *affinities.shape[1:]), dtype=np.float32)
    return lambda: random_walk(scores, affinities, offsets, beta=BETA, steps=STEPS)


def crf(size: tuple[int, int], classes: int) -> Callable[[], Any]:
    """Refine the scores of the classes over an image: ten iterations."""
    image, scores = photo(size), readings(classes, size)[0]
    return lambda: dense_crf(image, scores)


JOBS = {"walk": walk, "CRF": crf}


def measure(job: str, size: tuple[int, int], classes: int) -> tuple[float, float]:
    """Run a job twice; seconds of the second run, and megabytes held at most above those before the first."""
    small = JOBS[job]((48, 64), 2)
    small()  # compiles, loads
    ready = JOBS[job](size, classes)
    before = peak_megabytes()
    ready()
    return seconds(ready), peak_megabytes() - before


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    sizes = [(round(sqrt(0.75e6 * m)), round(sqrt(0.75e6 * m) * 4 / 3)) for m in ((0.5, 2) if quick else MEGAPIXELS)]
    cases = [(size, 4) for size in (*sizes, WIDE)] + [(VOC, classes) for classes in ((2, 21) if quick else CLASSES)]
    rows = []
    for job in JOBS:
        for size, classes in cases:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took, megabytes = pool.apply(measure, (job, size, classes))
            rows.append(
                {
                    "name": f"{job}, image of {size[0]}x{size[1]}, {classes} classes",
                    "ours_s": took,
                    "us_a_pixel_and_class": 1e6 * took / (size[0] * size[1] * classes),
                    "memory_mb": round(megabytes),
                }
            )
    return rows
