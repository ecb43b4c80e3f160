"""What a workspace of N tiny images costs: ``python -m benchmarks.scale N ...``; what it measures goes to ``results/scale-N.json``.

Two stages that compute next to nothing, so that what is left is bookkeeping. Every command is a process of its own, its start included.
Beside the time on the wall stand the seconds of processor, which other work on the machine hardly changes. Folders go where ``--folder``
says, on a disk, and are removed. Floor: one stat of every image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.recording import origin
from benchmarks.scale.memory import peak_megabytes
from benchmarks.scale.placing import place_masks

RESULTS = Path(__file__).parents[1] / "results"
IN_A_FOLDER = 10_000
ADDED = 10
MAPS = ("look", "turn")  # the second reads the first
SETTLED_SECONDS = 2.1  # digests of files that changed a moment ago are not trusted
POLL_SECONDS = 0.01
SETTINGS = '[data]\nimages = "images"\nclasses = "classes.txt"\n\n[run]\ntarget = "%s"\nsplit = "train"\n'


def tiny_png(number: int) -> bytes:
    """Make an 8 x 8 grey image whose bytes no other number has."""
    rows = b"".join(b"\0" + struct.pack(">Q", number * 2654435761 + row) for row in range(8))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)


def write_images(folder: Path, numbers: Iterable[int]) -> None:
    """Write tiny images, ten thousand to a folder."""
    for number in numbers:
        path = folder / f"{number // IN_A_FOLDER:04d}" / f"{number:08d}.png"
        if number % IN_A_FOLDER == 0 or not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny_png(number))


def measured(root: Path, *arguments: str) -> dict[str, Any]:
    """Run a command in a process of its own: seconds on the wall and of processor, and the megabytes it held at most."""
    command = [sys.executable, "-m", "benchmarks.scale.toy_stages", "-C", str(root), *arguments]
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    started = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=silent)
    memory, ended, code = 0.0, 0, 0
    while not ended:
        memory = max(memory, peak_megabytes(child))
        time.sleep(POLL_SECONDS)
        ended, code, used = os.wait4(child, os.WNOHANG)
    if code:
        raise SystemExit(f"benchmark of scale: `labelseg {' '.join(arguments)}` ended with {os.waitstatus_to_exitcode(code)}.")
    took = time.perf_counter() - started
    return {"seconds": round(took, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2), "peak_mb": round(memory)}


def footprint(folder: Path) -> tuple[int, int]:
    """Count files and bytes below a folder, links not followed."""
    files = size = 0
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            below = footprint(Path(entry.path))
            files, size = files + below[0], size + below[1]
        else:
            files, size = files + 1, size + entry.stat(follow_symlinks=False).st_size
    return files, size


def measure(root: Path, images: int, *, placed: bool = False, maps: int = len(MAPS)) -> list[dict[str, Any]]:
    """Measure one number of images and of maps; with ``placed`` masks are put in place that a first run would have made."""
    write_images(root / "images", range(images))
    (root / "classes.txt").write_text("dark\nbright\n")
    (root / "labelseg.toml").write_text(SETTINGS % MAPS[maps - 1])
    rows: list[dict[str, Any]] = []
    time.sleep(SETTLED_SECONDS)
    if placed:
        place_masks(root)
    else:
        rows.append({"name": "first run", **measured(root, "run", "--workers", "0")})
        rows[-1]["files"], rows[-1]["bytes"] = footprint(root / ".labelseg")
    measured(root, "run")
    read = f"{images // 2 // IN_A_FOLDER:04d}/{images // 2:08d}"
    for name, command in (
        ("status", ("status",)),
        ("run, nothing to do", ("run",)),
        ("gc --dry-run", ("gc", "--dry-run")),
        ("show, one image", ("show", MAPS[maps - 1], read, "--split", "train")),
    ):
        rows.append({"name": name, **measured(root, *command)})
    write_images(root / "images", range(images, images + ADDED))
    rows.append({"name": f"run, {ADDED} images added", **measured(root, "run", "--workers", "0")})
    rows[-1]["files"], rows[-1]["bytes"] = footprint(root / ".labelseg")
    return rows


def main() -> None:
    """Measure what was asked for and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=int, help="numbers of images")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where the workspaces are made; on a disk, not in memory")
    parser.add_argument("--placed", action="store_true", help="no first run: masks that no stage computed are put in place")
    parser.add_argument("--maps", type=int, choices=(1, 2), default=2, help="how many maps are made")
    parser.add_argument("--quick", action="store_true", help="the results are printed, not written")
    options = parser.parse_args()
    for images in options.images:
        root = options.folder / f"scale-{images}"
        root.mkdir(parents=True)
        try:
            rows = measure(root, images, placed=options.placed, maps=options.maps)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        for row in rows:
            print(
                f"{images:>10,}  {row['name']:24s} {row['seconds']:9.2f} s {row['cpu_seconds']:9.2f} s CPU {row['peak_mb']:6,} MB",
                flush=True,
            )
        if not options.quick:
            load = round(os.getloadavg()[0], 1)
            command = (
                f"python -m benchmarks.scale {images}{' --placed' if options.placed else ''}{' --maps 1' if options.maps == 1 else ''}"
            )
            record = {**origin(command), "images": images, "load": load, "rows": rows}
            (RESULTS / f"scale-{images}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
