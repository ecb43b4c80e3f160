"""What the runner costs: status and reruns of finished stages, one image added, and memory, for many images.

Bars: a rerun that has nothing to do 0.5 s for 1,000 images and 2 s for 10,000; status of 10,000 images 1 s. Every time is
that of a whole process, its start included. Floor: one stat of every image (2 us each) and one read of each manifest.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.scale.memory import peak_megabytes
from benchmarks.speed.store import fresh_folder

SIDE = 16


def write_images(folder: Path, start: int, stop: int) -> None:
    """Write small photos whose bytes all differ."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(start)
    for number in range(start, stop):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{number:06d}.png", compress_level=0)


def labelseg(root: Path, *arguments: str) -> tuple[float, float]:
    """Run a command in a process of its own; its seconds, and the megabytes it held at most."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.scale.toy_stages", "-C", str(root), *arguments]
    child = os.posix_spawn(
        sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_WRONLY, 0) for n in (1, 2)]
    )
    memory, ended, code = 0.0, 0, 0
    while not ended:
        memory = max(memory, peak_megabytes(child))
        time.sleep(0.002)
        ended, code = os.waitpid(child, os.WNOHANG)
    took = time.perf_counter() - started
    if code:
        raise SystemExit(f"benchmark of reruns: `labelseg {' '.join(arguments)}` ended with {os.waitstatus_to_exitcode(code)}.")
    return took, memory


def measure(root: Path, images: int, rounds: int) -> list[dict[str, Any]]:
    """Measure one number of images."""
    write_images(root / "images", 0, images)
    (root / "classes.txt").write_text("dark\nbright\n")
    (root / "labelseg.toml").write_text('[data]\nimages = "images"\nclasses = "classes.txt"\n\n[run]\ntarget = "turn"\nsplit = "train"\n')
    first, memory = labelseg(root, "run", "--workers", "0")
    rows = [{"name": f"first run of two empty stages, {images:,} images", "ours_s": first, "peak_mb": round(memory)}]
    time.sleep(2.1)  # digests of files that changed a moment ago are not trusted
    labelseg(root, "status")
    for name, command, bar in (
        ("status", ("status",), {10_000: 1.0}),
        ("rerun of a finished stage", ("look",), {1_000: 0.5, 10_000: 2.0}),
        ("rerun of the whole chain", ("run",), {}),
    ):
        runs = [labelseg(root, *command) for _ in range(rounds)]
        row = {"name": f"{name}, {images:,} images, nothing changed", "ours_s": median(s for s, _ in runs)}
        rows.append({**row, "peak_mb": round(max(m for _, m in runs)), **({"bar_s": bar[images]} if images in bar else {})})
    write_images(root / "images", images, images + 10)
    took, memory = labelseg(root, "run", "--workers", "0")
    rows.append({"name": f"run after 10 images were added to {images:,}", "ours_s": took, "peak_mb": round(memory)})
    return rows


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    rows = []
    for images in (1_000,) if quick else (1_000, 10_000):
        with fresh_folder() as root:
            rows += measure(root, images, 1 if quick else 5)
    return rows
