"""The stage ``refine`` with all workers against itself with ``--crf-backend pydensecrf``, alone on the machine and beside a busy process.

Images of 375 x 500 pixels with maps of one to three classes, brought in by ``import-scores``; the seconds are those that the stage itself
records: minimum, median and maximum of the rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.recording import labelseg
from benchmarks.speed.crf import SIZE, photo, readings

IMAGES, ROUNDS = 120, 3
CLASSES = ("background", "cat", "cow", "dog")
BACKENDS = ("native", "pydensecrf")


def prepare(root: Path, images: int) -> None:
    """Write images, their maps and the settings."""
    (root / "images").mkdir()
    (root / "scores").mkdir()
    base, rng = photo(SIZE), np.random.default_rng(0)
    for number in range(images):
        shifted = np.roll(base, rng.integers(0, 300, 2), axis=(0, 1))
        Image.fromarray(shifted).save(root / "images" / f"{number:04}.png")
        count = 1 + number % 3
        maps = readings(count + 1, SIZE)[0][1:]
        np.savez(root / "scores" / f"{number:04}.npz", scores=maps, classes=np.array(CLASSES[1 : count + 1]))
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    settings = '[import-scores]\nfiles = "scores"\ntags = "file"\n[refine]\ncam = "import-scores"\n'
    (root / "labelseg.toml").write_text(f'[data]\nimages = "images"\nclasses = "classes.txt"\n{settings}')
    labelseg(root, "import-scores", "--split", "all", "--workers", "0")


def stage_seconds(root: Path, stage: str, name: str, workers: int, *options: str) -> float:
    """Run a stage anew as an instance, and read how long it took."""
    labelseg(root, stage, "--as", name, *options, "--split", "all", "--force", "--workers", str(workers), "--device", "cpu")
    rows = json.loads(labelseg(root, "status", "--json", capture=True))
    return float(next(row["seconds"] for row in rows if row["instance"] == f"{stage}@{name}"))


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep a core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def run(quick: bool) -> list[dict[str, Any]]:
    """Time both backends in turn."""
    images, rounds = (12, 1) if quick else (IMAGES, ROUNDS)
    workers = os.cpu_count() or 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="labelseg-refine-") as folder:
        root = Path(folder)
        prepare(root, images)
        for beside in (False, True):
            times: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
            with busy(beside):
                for _ in range(rounds):
                    for backend in BACKENDS:
                        times[backend].append(stage_seconds(root, "refine", backend, workers, "--crf-backend", backend))
            ours, theirs = (times[backend] for backend in BACKENDS)
            rows.append(
                {
                    "name": f"refine, {images} images, {workers} workers, {'beside a busy process' if beside else 'alone'}",
                    "ours_s": median(ours),
                    "opponent": "pydensecrf",
                    "opponent_s": median(theirs),
                    "ratio": median(theirs) / median(ours),
                    "ours_least_s": min(ours),
                    "ours_most_s": max(ours),
                    "opponent_least_s": min(theirs),
                    "opponent_most_s": max(theirs),
                }
            )
    return rows
