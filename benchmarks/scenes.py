"""The demonstration chain on built-in scenes, each step scored on scenes that no training saw; beside it, what the chain for photos adds.

Run: ``python -m benchmarks.scenes --seed 0``. The result is written to ``benchmarks/results/scenes-seed<seed>.json``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.recording import Result, labelseg

STEPS = (("CAM", "cam"), ("refined", "refine"), ("propagated", "propagate"), ("segmenter", "segment"))
# Step -> instance beside the chain, and the options that make it from what the chain trained.
BESIDE = {
    "CAM, mean with prototype maps": ("cam@mean", ["--kind", "mean"]),
    "propagated, flood guard": ("propagate@guarded", ["--guard", "competitor"]),
    "propagated, background competes": ("propagate@competing", ["--start", "background"]),
    "propagated, background competes, mean maps": ("propagate@both", ["--start", "background", "--cam", "cam@mean"]),
    "segmenter, classes weighed": ("segment@weighed", ["--classes", "train-classifier"]),
}


def main() -> None:
    """Run the demonstration and score it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    runs, name = Path("runs"), f"scenes-seed{options.seed}"
    runs.mkdir(exist_ok=True)
    result = Result(name, f"python -m benchmarks.scenes --seed {options.seed}", options.seed)
    started = time.time()
    labelseg(runs, "demo", name, "--seed", str(options.seed))
    if time.time() - started > 30:  # otherwise there was nothing left to do
        result.add("chain", "seconds of `labelseg demo`", round(time.time() - started))
    for step, instance in STEPS:
        result.score(runs / name, step, instance, "val")
    for step, (instance, flags) in BESIDE.items():
        stage, _, as_name = instance.partition("@")
        labelseg(runs / name, stage, "--as", as_name, *flags, "--split", "val")
        result.score(runs / name, step, instance, "val")
    result.stages(runs / name)


if __name__ == "__main__":
    main()
