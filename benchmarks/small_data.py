"""The chain from tags as ``labelseg init`` sets it up, on 30, 48, 100 and 1,000 images: is any size worse than no masks at all?

Run: ``python -m benchmarks.small_data --data DIR --weights FILE --seed 0``, with a folder such as voc_animals, or without ``--data`` for
built-in scenes. Every size has a workspace under ``runs/``; interrupted and run again, it goes on where it stopped. The result is
written to ``benchmarks/results/small_data-<name>-seed<seed>.json`` after each step that adds to it. ``--recipe`` names another chain than
that of ``tags``. ``--published`` leaves the schedules of the literature as they are, whatever the number of updates. ``--alone`` takes
images with one tag only, and ``--until cam`` goes no further than that.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.recording import Result, labelseg
from labelseg.data.dataset import open_dataset
from labelseg.data.folder.choosing import choose_images
from labelseg.data.scenes.drawing import write_scenes

SIZES = (30, 48, 100, 1000)
STEPS = (("cam", "train"), ("refine", "train"), ("propagate", "train"), ("segment", "val"))
SCHEDULE = ("min_updates", "warmup_share", "keep")


def scenes(folder: Path, size: int, seed: int) -> Path:
    """Draw scenes as files, half as many to evaluate on."""
    if not folder.exists():
        write_scenes(folder, train=size, val=max(size // 2, 30), seed=seed)
        for name in ("train", "val"):
            (folder / f"{name}.txt").write_text((folder / "splits" / f"{name}.txt").read_text())
    return folder


def few(data: Path, folder: Path, size: int, seed: int, alone: bool) -> Path:
    """List some images of a folder of data, chosen so that classes keep their shares, beside the validation images that it lists.

    Args:
        data: The folder.
        folder: Where to write the lists.
        size: How many images.
        seed: Of the choice.
        alone: Whether to choose among images with one tag.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(data, {"images": "images", "labels": "image_labels.csv", "classes": "classes.txt", "splits": "."})
    ids = [name for name in dataset.ids("train") if not alone or len(dataset.tags(name) or ()) == 1]
    chosen = choose_images({name: dataset.tags(name) or () for name in ids}, min(size, len(ids)), seed, nested=True)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in chosen))
    (folder / "val.txt").write_text((data / "val.txt").read_text())
    return folder


def prepare(workspace: Path, data: Path, lists: Path, options: argparse.Namespace) -> None:
    """Set a workspace up as a person would, unless it is there."""
    if (workspace / "labelseg.toml").exists():
        return
    workspace.mkdir(parents=True, exist_ok=True)
    labels = next(path for path in (data / "labels.csv", data / "image_labels.csv") if path.exists())
    weights = ["--weights", str(options.weights.resolve())] if options.weights else []
    parts = {"images": data / "images", "labels": labels, "masks": data / "masks", "classes": data / "classes.txt", "splits": lists}
    labelseg(
        workspace,
        "init",
        "--recipe",
        options.recipe,
        *(word for name, path in parts.items() for word in (f"--{name}", str(path.resolve()))),
        *weights,
    )
    for stage in ("train-classifier", "train-affinity", "train-segmenter"):
        labelseg(workspace, "config", f"{stage}.seed", str(options.seed))
        for key in SCHEDULE if options.published else ():
            labelseg(workspace, "config", f"{stage}.{key}", "--unset")
    for setting in options.set:
        key, _, value = setting.partition("=")
        labelseg(workspace, "config", key, value)


def main() -> None:
    """Run every size and write the scores down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images, masks, image_labels.csv, classes.txt, train.txt and val.txt")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of MobileNetV2; without: the download of torchvision")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", choices=("tags", "tags-one-round"), default="tags")
    parser.add_argument("--alone", action="store_true", help="images with one tag only")
    parser.add_argument("--until", choices=[instance for instance, _ in STEPS], default="segment", help="the last step to score")
    parser.add_argument("--published", action="store_true", help="no fewest updates, no share of the warm-up, the last epoch")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="a parameter to change")
    options = parser.parse_args()
    other = "" if options.recipe == "tags" else f"-{options.recipe}"
    other += "-alone" if options.alone else ""
    name = (options.data.name if options.data else "scenes") + other + ("-published" if options.published else "")
    where, which = "--data DIR --weights FILE " if options.data else "", f"--recipe {options.recipe} " if options.recipe != "tags" else ""
    which += "--alone " if options.alone else ""
    command = f"python -m benchmarks.small_data {where}{which}--seed {options.seed}"
    result = Result(f"small_data-{name}-seed{options.seed}", command, options.seed)
    for size in options.sizes:
        workspace = Path("runs") / f"small_data-{name}-{size}-seed{options.seed}"
        data = options.data or scenes(Path("runs") / f"small_data-scenes-{size}", size, options.seed)
        prepare(workspace, data, few(data, workspace / "lists", size, options.seed, options.alone) if options.data else data, options)
        for instance, split in STEPS:
            labelseg(workspace, "run", "--until", instance) if split == "train" else labelseg(workspace, "run")
            (row,) = json.loads(labelseg(workspace, "evaluate", instance, "--split", split, "--json", capture=True))
            result.add(f"{size} images", instance, {key: row[key] for key in ("miou", "baseline", "images")})
            if instance == options.until:
                break
    scored = {f"{group}, {step}": row for group, rows in result.values.items() if group.endswith(" images") for step, row in rows.items()}
    below = [name for name, row in scored.items() if row["miou"] <= row["baseline"]]
    result.add("no better than background everywhere", "steps", below)


if __name__ == "__main__":
    main()
