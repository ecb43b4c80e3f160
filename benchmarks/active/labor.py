"""From day to dusk with few answered pixels: strategies at equal points, equal rounds and equal updates, on real photos.

Run: ``python -m benchmarks.active.labor --data DIR --weights FILE --seed 0``. Every step is a labelseg command in a workspace under
``runs/``; interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/labor-camvid-seed<seed>.json`` after each step that adds to it. True masks answer in place of a person. ``--quick``
tries the script with a network of seconds.

All methods begin from one warm-up and train for the same number of updates: those that ask nothing go on without answers. Chance, entropy
and RIPU ask as many points of each image in each round as PPL did there.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from benchmarks.recording import SETTINGS, Result, labelseg, make_workspace
from labelseg.class_ids import IGNORE
from labelseg.results.budgets import budgets
from labelseg.workspace import Workspace

LISTS = {"source_train": "domain_source_day_train", "target_train": "domain_target_dusk_train", "target_test": "domain_target_dusk_test"}
ROUNDS, NEAR = 3, 3
TRAIN, TEST = "target:target_train", "target:target_test"
WARM_UP = "train-uda@0"
ASKING = ("ppl", "spl", "random", "entropy", "ripu")
METHODS = ("source only", "adversarial only", *ASKING, "fully supervised")
QUICK = {
    "iterations = 150": "iterations = 6",
    "iterations = 300": "iterations = 6",
    "iterations = 100": "iterations = 6",
    "@WEIGHTS@": "none",
    "bf16-mixed": "32-true",
}


def prepare(workspace: Path, data: Path, weights: Path, seed: int, quick: bool) -> str:
    """Make the workspace with the frozen settings, unless it is there; the settings."""
    settings = (SETTINGS / "labor_camvid.toml").read_text()
    if quick:
        for old, new in QUICK.items():
            settings = settings.replace(old, new)
        settings = settings.replace("[train-uda]", '[train-uda]\nbackbone = "tiny"\nfreeze_batchnorm = false').replace(
            "freeze_blocks = 4\n", ""
        )
    if (workspace / "labelseg.toml").exists():
        return settings
    make_workspace(workspace, data, weights, seed, settings, ())
    for name, listed in LISTS.items():
        names = (data / f"{listed}.txt").read_text().split()
        (workspace / "splits" / f"{name}.txt").write_text("\n".join(names[:6] if quick else names) + "\n")
    path = workspace / "labelseg.toml"
    table = f'[data.target]\nimages = "{data}/images"\nmasks = "{data}/masks"\nsplits = "splits"\n\n'
    path.write_text(path.read_text().replace("[train-uda]", table + "[train-uda]", 1))
    return settings


def short(method: str) -> str:
    """Name a method in names of instances."""
    return method.split()[0]


def without_questions(workspace: Path, method: str, rounds: int) -> list[str]:
    """Train for as many updates as the others, without answers or with the masks of all pixels; the models by round."""
    options = {
        "source only": ["--adversarial", "0", "--answer-weight", "0"],
        "adversarial only": ["--answer-weight", "0"],
        "fully supervised": ["--answers", "masks", "--answer-weight", "1"],
    }[method]
    before, models = WARM_UP, []
    if method == "source only":
        before = "train-uda@source-0"
        labelseg(workspace, "train-uda", "--as", "source-0", "--adversarial", "0")
    for number in range(1, rounds + 1):
        name = f"{short(method)}-{number}"
        labelseg(workspace, "train-uda", "--as", name, "--round", str(number), "--previous", before, *options)
        before = f"train-uda@{name}"
        models.append(before)
    return models


def with_questions(workspace: Path, method: str, rounds: int) -> list[str]:
    """Ask, answer and train, round by round; the models."""
    model, models = WARM_UP, []
    for number in range(1, rounds + 1):
        name, numbered = f"{method}-{number}", ["--round", str(number)]
        earlier = f"{method}-{number - 1}" if number > 1 else ""
        choice = ["--strategy", method]
        if method in ("ppl", "spl"):
            labelseg(workspace, "train-selector", "--as", name, *numbered, "--model", model)
            choice += ["--selector", f"train-selector@{name}"]
        else:
            choice += ["--like", f"labor-select@ppl-{number}", *(["--model", model] if method != "random" else [])]
        choice += ["--previous", f"labor-select@{earlier}"] if earlier else []
        labelseg(workspace, "labor-select", "--as", name, *numbered, *choice, "--split", TRAIN)
        labelseg(workspace, "answers", f"labor-select@{name}", "--truth", capture=True)
        collected = ["--asked", f"labor-select@{name}", *(["--previous", f"labor-annotate@{earlier}"] if earlier else [])]
        labelseg(workspace, "labor-annotate", "--as", name, *numbered, *collected, "--split", TRAIN)
        learned = ["--previous", model, "--answers", f"labor-annotate@{name}"]
        labelseg(workspace, "train-uda", "--as", name, *numbered, *learned)
        model = f"train-uda@{name}"
        models.append(model)
    return models


def score(workspace: Path, result: Result, name: str, model: str) -> None:
    """Segment the dusk test list by a model, and score it."""
    labelseg(workspace, "segment", "--as", name, "--model", model, "--split", TEST)
    result.score(workspace, name, f"segment@{name}", TEST)


def border_distance(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the distance (H, W) of each pixel to the nearest one that lies beside another class, pixels; void is no class."""
    borders = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        one, other = (np.take(mask, range(start, mask.shape[axis] - 1 + start), axis) for start in (0, 1))
        differ = (one != other) & (one != IGNORE) & (other != IGNORE)
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        borders |= np.pad(differ, pad)
        pad[axis] = (1, 0)
        borders |= np.pad(differ, pad)
    return distance_transform_edt(~borders) if borders.any() else np.full(mask.shape, np.inf)


def record_budget(workspace: Path, result: Result, method: str) -> None:
    """Write down what a method asked: points, labels, classes, and how near to a border."""
    opened = Workspace(workspace)
    for budget in budgets(opened):
        if budget.instance.startswith(f"labor-annotate@{method}-"):
            near: list[float] = []
            for image_id, found in opened[budget.instance, budget.split].items():
                rows, columns = found["points"].T
                near += border_distance(opened.dataset.mask(image_id))[rows, columns].tolist()
            share = float(np.mean(np.array(near) <= NEAR)) if near else 0.0
            result.add("budget", budget.instance, {**asdict(budget), f"within {NEAR} px of a border": round(share, 3)})


def summary(values: dict[str, Any]) -> str:
    """Write scores and points as lines."""
    lines = []
    for name, row in values.get("miou", {}).items():
        spent = values.get("budget", {}).get(f"labor-annotate@{name.split(' on ')[0]}", {})
        points = f"{spent['asked'] / spent['images']:8.1f} an image" if spent else ""
        lines.append(f"{name:45s} {100 * row['miou']:5.1f} {points}")
    return "\n".join(lines)


def main() -> None:
    """Run the methods, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images, masks, classes.txt and the lists of both domains")
    parser.add_argument("--weights", type=Path, default=Path("none"), help="ImageNet weights of MobileNetV2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD", help=f"of: {'; '.join(METHODS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="try the script: six images, a tiny network; the figures mean nothing")
    parser.add_argument("--note", default="", help="circumstances to write beside the figures")
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    name = f"labor-{'quick' if options.quick else 'camvid'}-seed{options.seed}"
    workspace = options.workspace or Path("runs") / name
    settings = prepare(workspace, options.data.resolve(), options.weights.resolve(), options.seed, options.quick)
    command = f"python -m benchmarks.active.labor --data DIR --weights FILE --seed {options.seed}"
    result = Result(name, command, options.seed, settings=settings, rounds=options.rounds, note=options.note)
    if options.quick:
        result.path = workspace / "result.json"

    labelseg(workspace, "train-uda", "--round", "0")
    score(workspace, result, "warm_up", WARM_UP)
    for method in options.methods:
        work = with_questions if method in ASKING else without_questions
        models = work(workspace, method, options.rounds)
        for number, model in enumerate(models, start=1):
            score(workspace, result, f"{short(method)}-{number}", model)
        if method in ASKING:
            record_budget(workspace, result, method)
    result.stages(workspace)
    print(json.dumps(result.values.get("budget", {}), indent=1) if options.quick else "")
    print(summary(result.values))


if __name__ == "__main__":
    main()
