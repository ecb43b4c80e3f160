"""The weakly supervised chain on real photos: tags in, masks and a segmenter out, scored against true masks.

Run: ``python -m benchmarks.voc_animals --data DIR --weights FILE --seed 0``. Every step is a labelseg command in a workspace
under ``runs/``; interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/voc_animals-seed<seed>.json`` after each step that adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SETTINGS = HERE / "voc_animals.toml"

# Instances beside the main chain: name -> options of the stage command.
EXTRAS = {
    "propagate@walk": ["--no-crf"],
    "propagate@colour": ["--no-crf", "--affinity-kind", "colour"],
    "propagate@constant": ["--no-crf", "--affinity-kind", "constant"],
}


def labelseg(workspace: Path, *arguments: str, capture: bool = False) -> str:
    """Run one command in the workspace; its talk goes to the terminal."""
    command = [sys.executable, "-m", "labelseg", "-C", str(workspace), *arguments]
    print("$ labelseg", *arguments, flush=True)
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if capture else None)
    return done.stdout or ""


def prepare(workspace: Path, data: Path, weights: Path, seed: int) -> None:
    """Make the workspace with the frozen settings, unless it is there."""
    if (workspace / "labelseg.toml").exists():
        return
    workspace.mkdir(parents=True, exist_ok=True)
    labelseg(workspace, "init", "--from", str(data), "--recipe", "tags")
    tune = workspace / "splits" / "tune.txt"
    tune.parent.mkdir(exist_ok=True)
    tune.write_text((HERE / "voc_animals_tune.txt").read_text())
    for name in ("train", "train_fine", "val"):
        (tune.parent / f"{name}.txt").write_text((data / f"{name}.txt").read_text())
    config = (
        f'[data]\nimages = "{data}/images"\nlabels = "{data}/image_labels.csv"\nmasks = "{data}/masks"\n'
        f'classes = "{data}/classes.txt"\nsplits = "splits"\n\n'
    )
    settings = SETTINGS.read_text().replace("@WEIGHTS@", str(weights)).replace("seed = 0", f"seed = {seed}")
    (workspace / "labelseg.toml").write_text(config + settings)


class Result:
    """The JSON of a run, written after every step."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.values.update(
            command=f"python -m benchmarks.voc_animals --seed {seed}",
            seed=seed,
            commit=subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
            machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            settings=SETTINGS.read_text(),
        )

    def add(self, group: str, name: str, value: Any) -> None:
        """Record a value and write the file."""
        self.values.setdefault(group, {})[name] = value
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.values, indent=1) + "\n")


def score(workspace: Path, result: Result, name: str, instance: str, split: str, on: str = "") -> None:
    """Evaluate an instance and record it."""
    options = ["--split", split, *(["--on", on] if on else [])]
    rows = json.loads(labelseg(workspace, "evaluate", instance, *options, "--json", capture=True))
    result.add("miou", f"{name} on {on or split}", rows[0])


def stage_rows(workspace: Path, result: Result) -> None:
    """Record items and seconds of every stage."""
    for row in json.loads(labelseg(workspace, "status", "--json", capture=True)):
        key = row["instance"] + (f" {row['split']}" if row.get("split") else "")
        result.add("stages", key, {"items": row.get("items"), "seconds": row.get("seconds"), "state": row.get("state")})


def main() -> None:
    """Run the chain, its controls and the ceiling, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images, masks, image_labels.csv, classes.txt and split lists")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--tune", action="store_true", help="score the tuning masks only, and stop before the segmenter")
    parser.add_argument("--no-ceiling", action="store_true", help="leave out the segmenter on true masks")
    options = parser.parse_args()
    workspace = options.workspace or Path("runs") / f"voc_animals-seed{options.seed}"
    prepare(workspace, options.data.resolve(), options.weights.resolve(), options.seed)
    result = Result(HERE / "results" / f"voc_animals-seed{options.seed}.json", options.seed)

    started = time.time()
    labelseg(workspace, "run", "--until", "propagate") if options.tune else labelseg(workspace, "run")
    if not options.tune and time.time() - started > 60:
        result.add("chain", "seconds of `labelseg run`", round(time.time() - started))
    for extra, flags in EXTRAS.items():
        stage, _, name = extra.partition("@")
        labelseg(workspace, stage, "--as", name, *flags, "--split", "tune" if options.tune else "train_fine")
    split = "tune" if options.tune else "train_fine"
    for name, instance in (
        ("CAM", "cam"),
        ("refined", "refine"),
        ("propagated", "propagate@walk"),
        ("control: colour affinity", "propagate@colour"),
        ("control: constant affinity", "propagate@constant"),
        ("propagated + dCRF", "propagate"),
    ):
        own = instance.startswith("propagate@")
        score(workspace, result, name, instance, split if own else "train", "" if own else split)
    stage_rows(workspace, result)
    if options.tune:
        return
    score(workspace, result, "segmenter", "segment", "val")
    model = json.loads(labelseg(workspace, "show", "train-classifier", "--json", capture=True))
    result.add("classifier", "val mAP, last epoch", model["metrics"]["last"]["mAP"])
    if not options.no_ceiling:
        labelseg(workspace, "train-segmenter", "--as", "gt", "--labels", "masks")
        labelseg(workspace, "segment", "--as", "gt", "--model", "train-segmenter@gt", "--split", "val")
        score(workspace, result, "segmenter on true masks", "segment@gt", "val")
    stage_rows(workspace, result)


if __name__ == "__main__":
    main()
