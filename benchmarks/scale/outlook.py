"""What a million images and a hundred million will take, by the model that ``labelseg run --dry-run`` tells; and how far it was off.

``python -m benchmarks.scale.outlook --finished WORKSPACE`` takes the paces, bytes and parts of the maps of a finished chain, which
ran in one process, and scales them. ``python -m benchmarks.scale.outlook`` checks the model: a workspace of 1,000 tiny images is run,
then grows to ten thousand and a hundred thousand, and each time what is told before is compared with what is found after. Both go to
``results/scale_outlook.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recording import origin
from benchmarks.scale.__main__ import MAPS, RESULTS, SETTINGS, SETTLED_SECONDS, footprint, measured, write_images
from benchmarks.scale.toy_stages import STAGES
from labelseg.commands.expectations import expected_space
from labelseg.results.history import paces
from labelseg.workspace import Workspace

PATH = RESULTS / "scale_outlook.json"
GROWN = (1_000, 10_000, 100_000)
FORESEEN = ((1_000_000, 16), (100_000_000, 1_000))


def told(workspace: Workspace, images: dict[tuple[str, str], int], processes: int) -> list[dict[str, Any]]:
    """Foresee maps from paces of one process: seconds on the wall of so many, bytes and files."""
    known = {instance: seconds / max(processes, 1) for instance, seconds in paces(workspace.folder).items()}
    space = expected_space(workspace.catalog, images, processes, known)
    return [
        {"map": instance, "images": count, "seconds": known[instance] * count}
        | {"bytes": space[instance, split].bytes, "files": space[instance, split].files}
        for (instance, split), count in images.items()
        if (instance, split) in space and instance in known
    ]


def check(root: Path) -> list[dict[str, Any]]:
    """Let a workspace of tiny images grow, and compare what was told with what was found; one process works."""
    (root / "images").mkdir(parents=True)
    (root / "classes.txt").write_text("dark\nbright\n")
    (root / "labelseg.toml").write_text(SETTINGS % MAPS[-1])
    rows, before = [], 0
    for images in GROWN:
        write_images(root / "images", range(before, images))
        time.sleep(SETTLED_SECONDS)
        expected = told(Workspace(root, stages=STAGES), {(name, "train"): images - before for name in MAPS}, 0) if before else []
        files, size = footprint(root / ".labelseg" / "objects") if before else (0, 0)
        took = measured(root, "run", "--workers", "0")
        grown = footprint(root / ".labelseg" / "objects")
        if expected:
            sums = {key: sum(row[key] for row in expected) for key in ("seconds", "bytes", "files")}
            found = {"seconds": took["seconds"], "cpu_seconds": took["cpu_seconds"], "bytes": grown[1] - size, "files": grown[0] - files}
            rows.append({"images": images - before, "told": sums, "found": found})
        before = images
    return rows


def foresee(finished: Path, numbers: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Foresee the maps of a finished chain for numbers of images and of processes."""
    workspace = Workspace(finished)
    maps = [(ref.instance, ref.split) for ref in workspace.catalog.refs() if ref.split == "train" and ref.count]
    order = list(workspace.stages)
    maps.sort(key=lambda place: (order.index(place[0].partition("@")[0]), place))
    return [
        {"images": images, "processes": processes, "maps": told(workspace, dict.fromkeys(maps, images), processes)}
        for images, processes in numbers
    ]


def main() -> None:
    """Check the model, or foresee with it, and write that down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, help="workspace of a finished chain; it is only read")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where the workspace of tiny images is made")
    options = parser.parse_args()
    values = json.loads(PATH.read_text()) if PATH.exists() else {}
    values |= origin("python -m benchmarks.scale.outlook")
    if options.finished:
        values["foreseen"] = foresee(options.finished, FORESEEN)
    else:
        root = options.folder / "scale-outlook"
        try:
            values["checked"] = check(root)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    PATH.write_text(json.dumps(values, indent=1) + "\n")
    print(json.dumps(values, indent=1))


if __name__ == "__main__":
    main()
