"""The weakly supervised chain on real photos: tags in, masks and a segmenter out, scored against true masks.

Run: ``python -m benchmarks.voc_animals --data DIR --weights FILE --seed 0``. Every step is a labelseg command in a workspace
under ``runs/``; interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/voc_animals-seed<seed>.json`` after each step that adds to it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.recording import SETTINGS, Result, labelseg, make_workspace

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
ROWS = {
    "CAM": "cam",
    "refined": "refine",
    "refined again, from the first walk": "refine@two",
    "first walk": "propagate@one",
    "first walk, from CAM stored in full": "propagate@full",
    "propagated": "propagate@walk",
    "control: colour affinity": "propagate@colour",
    "control: constant affinity": "propagate@constant",
    "control: constant affinity, 1 step": "propagate@blur",
    "propagated + dCRF": "propagate",
}
# What each part of the chain with a competing background gives: everything as in the chain, but for one thing.
COMPETING_EXTRAS = {
    "propagate@walk": ["--no-crf"],
    "propagate@plain-start": ["--start", "foreground-only"],
    "propagate@guarded": ["--start", "foreground-only", "--guard", "competitor", "--guard-factor", "1.5"],
    "propagate@first": ["--affinity", "train-affinity", "--scales", "1,1.25,1.5"],
    "propagate@colour": ["--no-crf", "--affinity-kind", "colour", "--colour-range", "10", "--scales", "1"],
    "propagate@constant": ["--no-crf", "--affinity-kind", "constant", "--scales", "1"],
}
COMPETING_ROWS = {
    "CAM": "cam",
    "refined": "refine",
    "refined again, from the first walk": "refine@two",
    "first walk + dCRF": "propagate@first",
    "propagated": "propagate@walk",
    "control: colour affinity": "propagate@colour",
    "control: constant affinity": "propagate@constant",
    "propagated + dCRF, threshold": "propagate@plain-start",
    "propagated + dCRF, threshold and guard": "propagate@guarded",
    "propagated + dCRF": "propagate",
}


SCORED_EPOCHS = 12  # of the classifier, on fewer than half of the images


@dataclass(frozen=True)
class Chain:
    """A chain that is measured.

    Attributes:
        name: Of its settings and its results.
        extras: Instances beside it, with the options that make them.
        rows: Row -> instance whose masks are scored.
        segmented: Rows of the segmenter beside the chain's own -> name of the instance of ``segment``, and its options.
        relabelled: Rows of the segmenter on the images that it was trained on, alike.
    """

    name: str
    extras: Mapping[str, Sequence[str]]
    rows: Mapping[str, str]
    segmented: Mapping[str, tuple[str, Sequence[str]]] = field(default_factory=dict)
    relabelled: Mapping[str, tuple[str, Sequence[str]]] = field(default_factory=dict)

    @property
    def settings(self) -> Path:
        """Its frozen settings."""
        return SETTINGS / f"{self.name}.toml"


CHAINS = {
    "two-rounds": Chain("voc_animals", EXTRAS, ROWS),
    "competing": Chain(
        "voc_animals_competing",
        COMPETING_EXTRAS,
        COMPETING_ROWS,
        {"segmenter, classes not weighed": ("plain", ["--classes", ""]), "segmenter, tags given": ("tagged", ["--tags", "given"])},
        {"training images segmented, tags given": ("own", ["--tags", "given"])},
    ),
}


def prepare(workspace: Path, data: Path, weights: Path, seed: int, settings: Path, scored_only: bool = False) -> None:
    """Make the workspace with frozen settings, unless it is there.

    Args:
        workspace: Where.
        data: Images, masks, image_labels.csv, classes.txt and lists.
        weights: Of the encoder.
        seed: Of all trainings.
        settings: The frozen ones.
        scored_only: Whether to learn only from the images whose masks are scored, the classifier for twice as many epochs.
    """
    if (workspace / "labelseg.toml").exists():
        return
    splits = workspace / "splits"
    splits.mkdir(parents=True, exist_ok=True)
    (splits / "tune.txt").write_text((SETTINGS / "voc_animals_tune.txt").read_text())
    make_workspace(workspace, data, weights, seed, settings.read_text(), ("train", "train_fine", "val"))
    if scored_only:
        (splits / "train.txt").write_text((splits / "train_fine.txt").read_text() + (splits / "tune.txt").read_text())
        labelseg(workspace, "config", "train-classifier.epochs", str(SCORED_EPOCHS))


def chain_seconds(workspace: Path, beside: Collection[str]) -> float:
    """Sum up what the stages of the chain took, the instances beside it left out."""
    rows = json.loads(labelseg(workspace, "status", "--json", capture=True))
    return sum(row["seconds"] or 0 for row in rows if row["instance"] not in beside and row.get("split") in (None, "", "train", "val"))


def main() -> None:
    """Run the chain, its controls and the ceiling, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images, masks, image_labels.csv, classes.txt and split lists")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--chain", choices=CHAINS, default="two-rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--tune", action="store_true", help="score the tuning masks only, and stop before the segmenter")
    parser.add_argument("--no-extras", action="store_true", help="leave out what each part of the chain gives, and the controls")
    parser.add_argument("--no-ceiling", action="store_true", help="leave out the segmenter on true masks")
    parser.add_argument(
        "--scored-only", action="store_true", help="learn from the 485 images whose masks are scored, for trials that cost less"
    )
    options = parser.parse_args()
    chain = CHAINS[options.chain]
    name = f"{chain.name}{'_485' if options.scored_only else ''}-seed{options.seed}"
    workspace = options.workspace or Path("runs") / name
    prepare(workspace, options.data.resolve(), options.weights.resolve(), options.seed, chain.settings, options.scored_only)
    which = f"--chain {options.chain}{' --scored-only' if options.scored_only else ''}"
    command = f"python -m benchmarks.voc_animals --data DIR --weights FILE {which} --seed {options.seed}"
    result = Result(name, command, options.seed, settings=chain.settings.read_text())

    split = "tune" if options.tune else "train_fine"
    labelseg(workspace, "run", "--until", "propagate")
    extras = {} if options.no_extras else chain.extras
    for extra, flags in extras.items():
        stage, _, as_name = extra.partition("@")
        labelseg(workspace, stage, "--as", as_name, *flags, "--split", split)
    for row, instance in chain.rows.items():
        if instance not in chain.extras:
            result.score(workspace, row, instance, "train", split)
        elif instance in extras:
            result.score(workspace, row, instance, split)
    result.stages(workspace)
    if options.tune:
        return
    labelseg(workspace, "run")
    result.score(workspace, "segmenter", "segment", "val")
    model = json.loads(labelseg(workspace, "show", "train-classifier", "--json", capture=True))
    result.add("classifier", "val mAP, last epoch", model["metrics"]["last"]["mAP"])
    beside = {*chain.extras}
    for row, (as_name, flags) in chain.segmented.items():
        labelseg(workspace, "segment", "--as", as_name, *flags, "--split", "val")
        result.score(workspace, row, f"segment@{as_name}", "val")
        beside.add(f"segment@{as_name}")
    for row, (as_name, flags) in chain.relabelled.items():
        labelseg(workspace, "segment", "--as", as_name, *flags, "--split", "train")
        for listed in ("tune", "train_fine"):
            result.score(workspace, row, f"segment@{as_name}", "train", listed)
        beside.add(f"segment@{as_name}")
    if not options.no_ceiling:
        labelseg(workspace, "train-segmenter", "--as", "gt", "--labels", "masks")
        labelseg(workspace, "segment", "--as", "gt", "--model", "train-segmenter@gt", "--split", "val")
        result.score(workspace, "segmenter on true masks", "segment@gt", "val")
        beside |= {"train-segmenter@gt", "segment@gt"}
    result.stages(workspace)
    sized = [("cam", "train"), ("refine", "train"), ("propagate", "train")]
    for instance, stored in [*sized, *([("cam@full", "train_fine")] if "cam@full" in extras else [])]:
        result.size(workspace, instance, stored)
    result.add("chain", "seconds of the stages of `labelseg run`", round(chain_seconds(workspace, beside)))


if __name__ == "__main__":
    main()
