"""The weakly supervised chain on real photos: tags in, masks and a segmenter out, scored against true masks.

Run: ``python -m benchmarks.voc_animals --data DIR --weights FILE --seed 0``. Every step is a labelseg command in a workspace
under ``runs/``; interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/voc_animals-seed<seed>.json`` after each step that adds to it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.recording import SETTINGS, Result, labelseg, make_workspace

FROZEN = SETTINGS / "voc_animals.toml"

# Instances beside the main chain: name -> options of the stage command. Thresholds, the range of colours and the single
# step were found on the tuning masks, as everything else. The last two tell what is lost by storing a quarter of each side in float16: they
# are the first walk from maps stored in full.
EXTRAS = {
    "propagate@walk": ["--no-crf"],
    "propagate@colour": ["--no-crf", "--affinity-kind", "colour", "--colour-range", "10", "--threshold", "0.5"],
    "propagate@constant": ["--no-crf", "--affinity-kind", "constant", "--threshold", "0.98"],
    "propagate@blur": ["--no-crf", "--affinity-kind", "constant", "--iters", "1", "--threshold", "0.5"],
    "cam@full": ["--store", "full"],
    "propagate@full": [
        *("--no-crf", "--cam", "cam@full", "--affinity", "train-affinity"),
        *("--scales", "1.25,1.5,1.75", "--threshold", "0.55"),
    ],
}


def prepare(workspace: Path, data: Path, weights: Path, seed: int) -> None:
    """Make the workspace with the frozen settings, unless it is there."""
    if (workspace / "labelseg.toml").exists():
        return
    tune = workspace / "splits" / "tune.txt"
    tune.parent.mkdir(parents=True, exist_ok=True)
    tune.write_text((SETTINGS / "voc_animals_tune.txt").read_text())
    make_workspace(workspace, data, weights, seed, FROZEN.read_text(), ("train", "train_fine", "val"))


def chain_seconds(workspace: Path) -> float:
    """Sum up what the stages of the chain took, the controls and the ceiling left out."""
    rows = json.loads(labelseg(workspace, "status", "--json", capture=True))
    beside = {*EXTRAS, "train-segmenter@gt", "segment@gt"}
    return sum(row["seconds"] or 0 for row in rows if row["instance"] not in beside and row.get("split") in (None, "", "train", "val"))


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
    name = f"voc_animals-seed{options.seed}"
    command = f"python -m benchmarks.voc_animals --data DIR --weights FILE --seed {options.seed}"
    result = Result(name, command, options.seed, settings=FROZEN.read_text())

    labelseg(workspace, "run", "--until", "propagate") if options.tune else labelseg(workspace, "run")
    for extra, flags in EXTRAS.items():
        stage, _, name = extra.partition("@")
        labelseg(workspace, stage, "--as", name, *flags, "--split", "tune" if options.tune else "train_fine")
    split = "tune" if options.tune else "train_fine"
    for name, instance in (
        ("CAM", "cam"),
        ("refined", "refine"),
        ("refined again, from the first walk", "refine@two"),
        ("first walk", "propagate@one"),
        ("first walk, from CAM stored in full", "propagate@full"),
        ("propagated", "propagate@walk"),
        ("control: colour affinity", "propagate@colour"),
        ("control: constant affinity", "propagate@constant"),
        ("control: constant affinity, 1 step", "propagate@blur"),
        ("propagated + dCRF", "propagate"),
    ):
        own = instance in EXTRAS
        result.score(workspace, name, instance, split if own else "train", "" if own else split)
    result.stages(workspace)
    if options.tune:
        return
    result.score(workspace, "segmenter", "segment", "val")
    model = json.loads(labelseg(workspace, "show", "train-classifier", "--json", capture=True))
    result.add("classifier", "val mAP, last epoch", model["metrics"]["last"]["mAP"])
    if not options.no_ceiling:
        labelseg(workspace, "train-segmenter", "--as", "gt", "--labels", "masks")
        labelseg(workspace, "segment", "--as", "gt", "--model", "train-segmenter@gt", "--split", "val")
        result.score(workspace, "segmenter on true masks", "segment@gt", "val")
    result.stages(workspace)
    for instance, stored in (("cam", "train"), ("refine", "train"), ("propagate", "train"), ("cam@full", "train_fine")):
        result.size(workspace, instance, stored)
    result.add("chain", "seconds of the stages of `labelseg run`", round(chain_seconds(workspace)))


if __name__ == "__main__":
    main()
