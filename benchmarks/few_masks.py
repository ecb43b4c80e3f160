"""Few masks, many images, on real photos: several methods from one supervised checkpoint, for equal wall time, last epoch.

Run: ``python -m benchmarks.few_masks voc_animals --data DIR --weights FILE --seed 0``, and ``camvid`` alike. Every step is a labelseg
command in a workspace under ``runs/``; interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/few_masks-<dataset>-seed<seed>.json`` after each step that adds to it.

Equal time: a short training of each method tells how long an update takes, and from that follows how many fill the budget.
Both stand in the result beside the seconds that the training then took.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.recording import SETTINGS, Result, labelseg, make_workspace

PROBE = 100  # updates of which the later half tells the time of one
BASE = "train-segmenter"


@dataclass(frozen=True)
class Plan:
    """What is run on a dataset.

    Attributes:
        labelled: Number of masks.
        source: List they are chosen from.
        rest: List whose other images are unlabelled.
        methods: Those of the first table.
        more: Those of the second table.
        watched: List whose unlabelled images have true masks, to score pseudo labels by.
    """

    labelled: int
    source: str
    rest: str
    methods: tuple[str, ...]
    more: tuple[str, ...] = ()
    watched: str = "train"


# Training of each method: its stage, and options beside those of the settings. With tags, unlabelled images have the tags of the list.
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "supervised": ("train-unimatch", ("--variant", "supervised")),
    "fixmatch": ("train-unimatch", ("--variant", "fixmatch")),
    "unimatch": ("train-unimatch", ("--variant", "unimatch")),
    "unimatch, tags": ("train-unimatch", ("--variant", "unimatch", "--tags", "given")),
    "unimatch, shares": ("train-unimatch", ("--variant", "unimatch", "--class-share", "0.3")),
    "unimatch-v2": ("train-unimatch", ("--variant", "unimatch-v2")),
    "pseudoseg": ("train-pseudoseg", ()),
    "pseudoseg, tags": ("train-pseudoseg", ("--tags", "given")),
}
PLANS = {
    "voc_animals": Plan(
        60,
        "train_fine",
        "train",
        ("supervised", "pseudoseg", "pseudoseg, tags", "fixmatch", "unimatch", "unimatch, tags"),
        ("unimatch-v2",),
        "train_fine",
    ),
    "camvid": Plan(30, "train", "train", ("supervised", "fixmatch", "unimatch", "unimatch, shares", "pseudoseg")),
}


def prepare(workspace: Path, dataset: str, data: Path, weights: Path, seed: int) -> None:
    """Make the workspace with the frozen settings and choose the labelled images, unless it is there."""
    plan = PLANS[dataset]
    if not (workspace / "labelseg.toml").exists():
        lists = dict.fromkeys((plan.source, plan.rest, plan.watched, "val"))
        make_workspace(workspace, data, weights, seed, settings_of(dataset), lists, folder="lists")
    if not (workspace / "splits" / "few.txt").exists():
        where = ["--from", plan.source, "--rest", plan.rest]
        labelseg(workspace, "split", "--labelled", str(plan.labelled), "--seed", str(seed), *where, "--name", "few")
    few = set((workspace / "splits" / "few.txt").read_text().split())
    watched = [name for name in (workspace / "lists" / f"{plan.watched}.txt").read_text().split() if name not in few]
    (workspace / "splits" / "watched.txt").write_text("\n".join(sorted(watched)) + "\n")


def settings_of(dataset: str) -> str:
    """Read the settings of a dataset."""
    return (SETTINGS / f"few_masks_{dataset}.toml").read_text()


def train(workspace: Path, method: str, name: str, iterations: int) -> None:
    """Train a method as an instance of its stage."""
    stage, options = METHODS[method]
    labelseg(workspace, stage, "--as", name, *options, "--iterations", str(iterations))


def instance_of(method: str, name: str) -> str:
    """Name the instance of a method."""
    return f"{METHODS[method][0]}@{name}"


def short(method: str) -> str:
    """Name a method in names of instances."""
    return method.replace("-", "_").replace(", ", "_")


def records(workspace: Path, instance: str, event: str) -> list[list[dict[str, Any]]]:
    """Read the records of a training from the logs, run by run."""
    runs = []
    for log in sorted((workspace / ".labelseg" / "runs").glob("*/log.jsonl")):
        found = [record for record in map(json.loads, log.read_text().splitlines()) if record.get("event") == event]
        runs.append([record for record in found if record.get("instance") == instance])
    return runs


def probed_seconds(workspace: Path, instance: str) -> float:
    """Measure an update of a short training, without the first ones, which warm up.

    Raises:
        RuntimeError: the training was interrupted so that no run holds two records.
    """
    whole = [run for run in records(workspace, instance, "iteration") if len(run) > 1]
    if not whole:
        raise RuntimeError(f"{instance} was interrupted, and tells no time. Run: labelseg {instance.split('@')[0]} --as NAME --force")
    first, last = whole[-1][-2:]
    elapsed = datetime.fromisoformat(last["time"]) - datetime.fromisoformat(first["time"])
    return elapsed.total_seconds() / (last["iteration"] - first["iteration"])


def training_seconds(workspace: Path, instance: str) -> float:
    """Sum up the epochs of a training, without their evaluation."""
    return sum(record["seconds"] for run in records(workspace, instance, "epoch") for record in run)


def run_method(workspace: Path, result: Result, method: str, budget: float) -> None:
    """Measure the time of an update, train for the budget, and score on val."""
    name = short(method)
    if method not in result.values.get("seconds an update, measured before", {}):
        train(workspace, method, f"probe_{name}", PROBE)
        seconds = probed_seconds(workspace, instance_of(method, f"probe_{name}"))
        result.add("seconds an update, measured before", method, round(seconds, 3))
    # A number once chosen stands: run again, the training must be the same one.
    if method not in result.values.get("updates", {}):
        seconds = result.values["seconds an update, measured before"][method]
        result.add("updates", method, max(1, int(budget / seconds)))
    train(workspace, method, name, result.values["updates"][method])
    instance = instance_of(method, name)
    result.add("seconds of training", method, round(training_seconds(workspace, instance)))
    model = json.loads(labelseg(workspace, "show", instance, "--json", capture=True))
    result.add("last epoch", method, model["metrics"]["last"])
    score(workspace, result, method, instance)


def score(workspace: Path, result: Result, method: str, instance: str) -> None:
    """Segment val by a model, and score it."""
    name = short(method)
    labelseg(workspace, "segment", "--as", name, "--model", instance, "--split", "val")
    result.score(workspace, method, f"segment@{name}", "val")


def score_pseudo_labels(workspace: Path, result: Result, methods: tuple[str, ...]) -> None:
    """Score what the methods say of unlabelled images: the fused label of PseudoSeg beside its parts, and the masks of the others."""
    for method in methods:
        if METHODS[method][0] != "train-pseudoseg":
            continue
        tags = "given" if "given" in METHODS[method][1] else "predicted"
        for part, gamma in (("fused", "0.5"), ("decoder", "1.0"), ("attention", "0.0")):
            name = f"{part}_{short(method)}"
            model = instance_of(method, short(method))
            labelseg(workspace, "sgc", "--as", name, "--model", model, "--gamma", gamma, "--tags", tags, "--split", "watched")
            result.score(workspace, f"{method}: {part}", f"sgc@{name}", "watched")
    for method in ("base", *(name for name in methods if METHODS[name][0] != "train-pseudoseg")):
        labelseg(workspace, "segment", "--as", short(method), "--split", "watched")
        result.score(workspace, method, f"segment@{short(method)}", "watched")


def summary(result: dict[str, Any]) -> str:
    """Write the scores on val as lines."""
    scores = result.get("miou", {})
    return "\n".join(f"{name:40s} {100 * row['miou']:.1f}" for name, row in scores.items())


def main() -> None:
    """Run the methods of a table, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=PLANS)
    parser.add_argument("--data", type=Path, required=True, help="folder with images, masks, image_labels.csv, classes.txt and lists")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=450, help="wall time of each training")
    parser.add_argument("--more", action="store_true", help="run the methods of the second table instead")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="METHOD", help=f"run these only: {'; '.join(METHODS)}")
    parser.add_argument("--note", default="", help="circumstances to write beside the figures, such as what else the machine was doing")
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    plan = PLANS[options.dataset]
    name = f"few_masks-{options.dataset}-seed{options.seed}"
    workspace = options.workspace or Path("runs") / name
    prepare(workspace, options.dataset, options.data.resolve(), options.weights.resolve(), options.seed)
    command = f"python -m benchmarks.few_masks {options.dataset} --data DIR --weights FILE --seed {options.seed}"
    result = Result(name, command, options.seed, settings=settings_of(options.dataset), budget=options.seconds, note=options.note)

    labelseg(workspace, BASE)
    score(workspace, result, "base", BASE)
    methods = tuple(options.methods or (plan.more if options.more else plan.methods))
    for method in methods:
        run_method(workspace, result, method, options.seconds)
    score_pseudo_labels(workspace, result, methods)
    result.stages(workspace)
    print(summary(result.values))


if __name__ == "__main__":
    main()
