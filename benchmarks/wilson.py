"""New classes from tags on real photos: base classes from masks, then three from tags, against plain fine-tuning and the ceiling.

Run: ``python -m benchmarks.wilson --data DIR --weights FILE --seed 0``. Every step is a labelseg command in a workspace under
``runs/``; interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/wilson-seed<seed>.json`` after each step. Whole images of ``val``, one scale, no mirror.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.recording import SETTINGS, Result, labelseg, make_workspace

FROZEN = SETTINGS / "wilson.toml"
BASE, NEW = ("cat", "dog", "person"), ("cow", "horse", "sheep")

# Row -> instance, and what was computed for it after step 0.
CHAIN = ("train-classifier", "cam")
AFFINITY = (*CHAIN, "refine", "affinity-labels", "train-affinity")
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "step 0": ("wilson@0", ()),
    "plain fine-tuning, CAM labels": ("wilson@cam", (*CHAIN, "refine@cam", "wilson@cam")),
    "offline alternative": ("wilson@offline", (*AFFINITY, "propagate", "wilson@offline")),
    "WILSON, overlap": ("wilson@1", ("wilson@1",)),
    "WILSON, masks of the walk": ("wilson@guided", (*AFFINITY, "propagate@guarded", "wilson@guided")),
    "step 0, disjoint": ("wilson@base-disjoint", ()),
    "WILSON, disjoint": ("wilson@disjoint", ("wilson@disjoint",)),
    "joint": ("wilson@joint", ("wilson@joint",)),
    "one class at a time": ("wilson@sheep", ("wilson@cow", "wilson@horse", "wilson@sheep")),
}
STEP, OFFLINE, WILSON, GUIDED = "step 0", "offline alternative", "WILSON, overlap", "WILSON, masks of the walk"


def prepare(workspace: Path, data: Path, weights: Path, seed: int) -> None:
    """Make the workspace with the frozen settings, unless it is there; its split ``new`` holds the training images of new classes."""
    if (workspace / "labelseg.toml").exists():
        return
    splits = workspace / "splits"
    splits.mkdir(parents=True, exist_ok=True)
    with (data / "image_labels.csv").open(newline="") as file:
        tags = {row["image"]: set(row["labels"].split()) for row in csv.DictReader(file)}
    train = (data / "train.txt").read_text().split()
    (splits / "new.txt").write_text("".join(f"{name}\n" for name in train if not tags.get(name, set()).isdisjoint(NEW)))
    make_workspace(workspace, data, weights, seed, FROZEN.read_text(), ("train", "val"))


def run_instance(workspace: Path, instance: str) -> None:
    """Bring an instance of wilson up to date."""
    name = instance.partition("@")[2]
    labelseg(workspace, "wilson", *(["--step", name] if name.isdecimal() else ["--as", name]))


def scores(workspace: Path, instance: str) -> dict[str, Any]:
    """Read what was scored after the last epoch: mean IoU of old, of new and of all classes, and the IoU of each."""
    model = json.loads(labelseg(workspace, "show", instance, "--json", capture=True))
    last = model["metrics"]["last"]
    iou = {name.removeprefix("IoU "): value for name, value in last.items() if name.startswith("IoU ")}
    groups = {"old": BASE, "new": NEW}
    means = {group: mean(iou[name] for name in names) if all(name in iou for name in names) else None for group, names in groups.items()}
    gates = {name: last[name] for name in ("cls", "loc", "enc", "sss", "seg", "sss_gate", "seg_gate") if name in last}
    return {**means, "all": last["mIoU"], "iou": iou, "images": model["metrics"]["images"], **({"losses": gates} if gates else {})}


def record_row(result: Result, workspace: Path, row: str) -> None:
    """Record the scores of a row and the seconds spent after step 0."""
    instance, stages = ROWS[row]
    status = json.loads(labelseg(workspace, "status", "--json", capture=True))
    seconds = {entry["instance"]: entry["seconds"] or 0 for entry in status if entry.get("split") in (None, "", "new")}
    spent = sum(seconds.get(stage, 0) for stage in stages)
    result.add("wilson", row, {**scores(workspace, instance), "seconds": round(seconds[instance]), "seconds after step 0": round(spent)})


def bars(rows: dict[str, Any]) -> dict[str, Any]:
    """Compare WILSON with what it has to reach: old classes within 5 points of step 0, new ones above the offline alternative."""
    found: dict[str, float | None] = {}
    values = {(row, key): rows.get(row, {}).get(key) for row in (STEP, OFFLINE, WILSON) for key in ("old", "new", "seconds after step 0")}

    def difference(one: tuple[str, str], other: tuple[str, str]) -> float | None:
        return None if values[one] is None or values[other] is None else round(100 * (values[one] - values[other]), 2)

    found["old classes, points below step 0"] = difference((STEP, "old"), (WILSON, "old"))
    found["new classes, points above the offline alternative"] = difference((WILSON, "new"), (OFFLINE, "new"))
    spent, allowed = values[WILSON, "seconds after step 0"], values[OFFLINE, "seconds after step 0"]
    found["wall time, share of the offline alternative's"] = round(spent / allowed, 2) if spent and allowed else None
    return found


def main() -> None:
    """Run all rows and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images, masks, image_labels.csv, classes.txt and split lists")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="circumstances to write beside the figures, such as what else the machine was doing")
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=f"which rows: {', '.join(ROWS)}")
    options = parser.parse_args()
    name = f"wilson-seed{options.seed}"
    workspace = options.workspace or Path("runs") / name
    prepare(workspace, options.data.resolve(), options.weights.resolve(), options.seed)
    command = f"python -m benchmarks.wilson --data DIR --weights FILE --seed {options.seed}"
    result = Result(name, command, options.seed, settings=FROZEN.read_text(), note=options.note)
    for row in options.rows:
        run_instance(workspace, ROWS[row][0])
        record_row(result, workspace, row)
        for bar, value in bars(result.values["wilson"]).items():
            result.add("bars", bar, value)
    if WILSON in options.rows:
        labelseg(workspace, "wilson-labels", "--split", "new")
        result.score(workspace, "pseudo labels of WILSON", "wilson-labels", "new")
    if OFFLINE in options.rows:
        result.score(workspace, "masks of the offline alternative", "propagate", "new")
    if GUIDED in options.rows:
        result.score(workspace, "masks of the walk, guarded", "propagate@guarded", "new")
    result.stages(workspace)


if __name__ == "__main__":
    main()
