"""Two thousand clicks on weak masks of real photos: what they add to the masks and to a segmenter, beside chance and points alone.

Run: ``python -m benchmarks.active.clicks --finished WORKSPACE``, a workspace of ``benchmarks.voc_animals --chain competing`` in which
``propagate`` is done. It is copied and stays as it is. Every step is a labelseg command in the copy; interrupted and run again, it goes on
where it stopped. The result is written to ``benchmarks/results/clicks-voc_animals-seed<seed>.json`` after each step that adds to it.
``--quick`` tries the script with scenes and a network of seconds; it makes its finished workspace itself.

True masks answer in place of a person, at ten pixels of every second image of ``train_fine``. How far an answer spreads is what gives the
best masks of the 50 tuning images, unless ``--reach`` and ``--colour`` say it. All segmenters train for the same number of updates, on
1,000 images whose masks are the same but for those that were asked about, or on the 200 images that were asked about.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.recording import SETTINGS, Result, copy_finished, labelseg
from labelseg.class_ids import IGNORE
from labelseg.data.formats.png import export_masks
from labelseg.data.scenes.drawing import write_scenes
from labelseg.ops.active.corrections import correct_mask
from labelseg.ops.metrics import ConfusionMatrix
from labelseg.workspace import Workspace

READ = (
    *("train-classifier", "cam", "refine", "affinity-labels", "train-affinity", "propagate@one", "refine@two"),
    *("affinity-labels@two", "train-affinity@two", "propagate"),
)
BUDGET, WRONG = 10, 0.05
CLICKED, TEACH, TUNE = "clicked", "teach", "tune"
REACHES, COLOURS = (0.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0, 200.0), (0.0, 10.0, 30.0, 100.0, 300.0)
USUAL = (30.0, 30.0)  # reach and colour unless they are given
# Questions: instance of ask -> how its pixels are chosen, and how its answers err.
ASKED = {
    "own": ((), ()),
    "wrong": ((), ("--noise", str(WRONG))),
    "random": (("--choose", "random"), ()),
}
PLAIN = ("--classes", "", "--scales", "1", "--no-flip", "--no-crf")


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        clicked: Images that are asked about.
        teach: Images that a segmenter learns, those included.
        epochs: Passes over these.
        batch: Images an update.
    """

    clicked: int = 200
    teach: int = 1000
    epochs: int = 4
    batch: int = 8

    def passes(self, split: str) -> int:
        """Passes over a list that make up the same number of updates.

        Raises:
            ValueError: no number of passes does.
        """
        updates, steps = self.epochs * (self.teach // self.batch), self.clicked // self.batch
        if updates % steps:
            raise ValueError(f"{updates} updates are no whole number of passes of {steps}")
        return self.epochs if split == TEACH else updates // steps


@dataclass(frozen=True)
class Arm:
    """A segmenter and what it learns.

    Attributes:
        name: Of the instance.
        labels: Its label source.
        split: Images it learns.
    """

    name: str
    labels: str
    split: str = TEACH


ARMS = {
    "weak masks": Arm("weak", "propagate"),
    "weak masks, clicks": Arm("own", "correct@own"),
    "weak masks, clicks by chance": Arm("random", "correct@random"),
    "points alone, by chance": Arm("points", "correct@points", CLICKED),
    "weak masks, clicks with 5 % wrong": Arm("wrong", "correct@wrong"),
    "weak masks, true ones where asked": Arm("true", "override@true"),
    "points alone, PixelPick": Arm("pixelpick", "labor-annotate@pixelpick", CLICKED),
    "true masks alone, where asked": Arm("alone", "masks", CLICKED),
}
QUICK_SETTINGS = """
[run]
target = "propagate"
split = "train"

[train-classifier]
@NETWORK@
epochs = 4
long_side = [96, 128]
seed = 0

[cam]
scales = [1.0]

[train-affinity]
@NETWORK@
epochs = 1
seed = 0

[propagate]
scales = [1.0]

[propagate.one]
affinity = "train-affinity"

[refine.two]
cam = "propagate@one"

[affinity-labels.two]
refine = "refine@two"

[train-affinity.two]
affinity_labels = "affinity-labels@two"

[train-segmenter]
@NETWORK@
init = "train-classifier"
width = 32
seed = 0
"""
TINY = 'backbone = "tiny"\nweights = "none"\nfreeze_batchnorm = false\nbatch_size = 4\ncrop = 96'


def make_quick(finished: Path) -> None:
    """Make a finished workspace of scenes with tiny networks, unless it is there."""
    if (finished / ".labelseg" / "refs" / "propagate").exists():
        return
    finished.mkdir(parents=True, exist_ok=True)
    if not (finished / "labelseg.toml").exists():
        table = write_scenes(finished, train=24, val=4)
        (finished / "splits" / "train_fine.txt").write_text((finished / "splits" / "train.txt").read_text())
        lines = [f'{key} = "{value if key == "splits" else finished.resolve() / value}"' for key, value in table.items()]
        (finished / "labelseg.toml").write_text("[data]\n" + "\n".join(lines) + "\n" + QUICK_SETTINGS.replace("@NETWORK@", TINY))
    for instance in READ:
        stage, _, name = instance.partition("@")
        labelseg(finished, stage, *(["--as", name] if name else []))


def write_lists(workspace: Path, sizes: Sizes, quick: bool) -> None:
    """Choose images: those asked about, every second one with a fine mask; those that teach, these and others; those to tune on."""
    lists = workspace / "splits"
    fine, train = ((lists / f"{name}.txt").read_text().split() for name in ("train_fine", "train"))
    clicked = fine[::2][: sizes.clicked]
    tune = [name for name in train if name not in clicked][-4:] if quick else (SETTINGS / "voc_animals_tune.txt").read_text().split()
    others = [name for name in train if name not in clicked and name not in tune]
    teach = clicked + others[: sizes.teach - len(clicked)]
    for name, ids in ((CLICKED, clicked), (TEACH, teach), (TUNE, tune)):
        (lists / f"{name}.txt").write_text("\n".join(ids) + "\n")


def ask(workspace: Path, result: Result, name: str, seed: int) -> None:
    """Ask about the images that teach, and answer for those that were chosen to be asked about."""
    chosen, answered = ASKED[name]
    for split in (TEACH, CLICKED):
        labelseg(workspace, "ask", "--as", name, "--of", "propagate", "--budget", str(BUDGET), *chosen, "--split", split)
    answer(workspace, result, f"ask@{name}", *answered, *(["--seed", str(seed)] if answered else []))


def answer(workspace: Path, result: Result, instance: str, *options: str) -> None:
    """Answer by true masks, and write down what was asked and labelled."""
    labelseg(workspace, "answers", instance, "--split", CLICKED, "--truth", *options, capture=True)
    facts = json.loads(labelseg(workspace, "answers", instance, "--split", CLICKED, "--json", capture=True))
    person = facts["people"][0]
    kept = {key: facts[key] for key in ("asked", "labelled")} | {key: person[key] for key in ("guessed", "right")}
    result.add("answers", instance, kept)


def search(workspace: Path) -> dict[str, float]:
    """Score the masks of the tuning images for every reach and colour, answered by their true masks without errors: name -> mIoU."""
    labelseg(workspace, "ask", "--as", "own", "--split", TUNE)
    opened = Workspace(workspace)
    settings = [(reach, colour) for reach in REACHES for colour in (COLOURS if reach else COLOURS[:1])]
    matrices = {setting: ConfusionMatrix(len(opened.dataset.classes)) for setting in settings}
    masks = opened["propagate", TUNE]
    for image_id, questions in opened["ask@own", TUNE].items():
        truth, points = opened.dataset.mask(image_id), questions["points"]
        said = truth[points[:, 0], points[:, 1]]
        points, said = points[said != IGNORE], said[said != IGNORE]
        image, mask = opened.dataset.image(image_id), masks[image_id]["mask"]
        for (reach, colour), matrix in matrices.items():
            matrix.update(truth, correct_mask(mask, image, points, said, reach, colour))
    return {f"{reach:g}, {colour:g}": matrix.miou() for (reach, colour), matrix in matrices.items()}


def choose_spread(workspace: Path, result: Result, reach: float | None, colour: float | None) -> tuple[float, float]:
    """Choose reach and colour: those given, or the best ones on the tuning masks."""
    if "tuning masks by reach, colour" not in result.values:
        started = time.monotonic()
        found = search(workspace)
        result.values["tuning masks by reach, colour"] = found
        result.add("seconds", "search of reach and colour", round(time.monotonic() - started))
    found = result.values["tuning masks by reach, colour"]
    best = max(found, key=found.__getitem__)
    far, step = (float(part) for part in best.split(", "))
    return far if reach is None else reach, step if colour is None else colour


def correct(workspace: Path, result: Result, name: str, spread: tuple[float, float]) -> None:
    """Correct the masks that teach by the answers of an instance, and score those that were asked about."""
    options = ["--reach", f"{spread[0]:g}", "--colour", f"{spread[1]:g}", "--of", "propagate", "--partial", "--split", TEACH]
    labelseg(workspace, "correct", "--as", name, "--asked", f"ask@{name}", *options)
    result.score(workspace, name, f"correct@{name}", TEACH, CLICKED)


def true_source(workspace: Path) -> None:
    """Put the true masks of the images that were asked about in the place of their weak ones."""
    folder = workspace / "true_masks"
    if not folder.exists():
        dataset = Workspace(workspace).dataset
        aside = folder.with_name("true_masks.partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        export_masks(((image_id, dataset.mask(image_id)) for image_id in dataset.ids(CLICKED)), aside)
        labelseg(workspace, "import-masks", str(aside), "--to", "override@true", "--format", "png")
        aside.rename(folder)
    labelseg(workspace, "override", "--as", "true", "--of", "propagate", "--split", TEACH)


def pixelpick(workspace: Path, result: Result, sizes: Sizes) -> None:
    """Ask half of the points by chance, train on them, and ask the other half where that segmenter is unsure."""
    half, where = str(BUDGET // 2), ["--split", CLICKED]
    labelseg(workspace, "labor-select", "--as", "chance", "--round", "1", "--strategy", "random", "--points", half, *where)
    answer(workspace, result, "labor-select@chance")
    labelseg(workspace, "labor-annotate", "--as", "chance", "--round", "1", "--asked", "labor-select@chance", *where)
    train(workspace, Arm("chance", "labor-annotate@chance", CLICKED), sizes)
    unsure = ["--strategy", "pixelpick", "--model", "train-segmenter@chance", "--previous", "labor-select@chance", "--points", half]
    labelseg(workspace, "labor-select", "--as", "pixelpick", "--round", "2", *unsure, *where)
    answer(workspace, result, "labor-select@pixelpick")
    collected = ["--asked", "labor-select@pixelpick", "--previous", "labor-annotate@chance"]
    labelseg(workspace, "labor-annotate", "--as", "pixelpick", "--round", "2", *collected, *where)


def train(workspace: Path, arm: Arm, sizes: Sizes) -> None:
    """Train a segmenter on a label source."""
    length = ["--epochs", str(sizes.passes(arm.split)), "--batch-size", str(sizes.batch)]
    labelseg(
        workspace, "train-segmenter", "--as", arm.name, "--labels", arm.labels, "--split", arm.split, "--validation", "", *length
    )  # fmt: skip


def measure(workspace: Path, result: Result, row: str, sizes: Sizes) -> None:
    """Train the segmenter of a row, and score it on the held images."""
    arm = ARMS[row]
    if arm.labels == "override@true":
        true_source(workspace)
    elif arm.labels == "labor-annotate@pixelpick":
        pixelpick(workspace, result, sizes)
    elif arm.labels == "correct@points":
        labelseg(workspace, "correct", "--as", "points", "--asked", "ask@random", "--of", "", "--reach", "0", "--split", CLICKED)
    train(workspace, arm, sizes)
    labelseg(workspace, "segment", "--as", arm.name, "--model", f"train-segmenter@{arm.name}", *PLAIN, "--split", "val")
    result.score(workspace, row, f"segment@{arm.name}", "val")


def summary(values: Mapping[str, Any]) -> str:
    """Write scores as lines."""
    return "\n".join(f"{name:50s} {100 * row['miou']:5.1f}" for name, row in values.get("miou", {}).items())


def main() -> None:
    """Ask, correct, train and score, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, help="workspace of benchmarks.voc_animals --chain competing; it stays as it is")
    parser.add_argument("--reach", type=float, help="how far answers spread; else what is best on the tuning masks")
    parser.add_argument("--colour", type=float, help="cost of colours; else what is best on the tuning masks")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS), metavar="ARM", help=f"segmenters, of: {'; '.join(ARMS)}")
    parser.add_argument("--quick", action="store_true", help="try the script: scenes, tiny networks; the figures mean nothing")
    parser.add_argument("--note", default="", help="circumstances to write beside the figures")
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    if (options.finished is None) != options.quick:
        parser.error("give --finished WORKSPACE, or --quick, which makes one")
    torch.set_num_threads(1)
    finished = options.finished or Path("runs") / "clicks-quick-finished"
    if options.quick:
        make_quick(finished)
    seed = int((finished / "labelseg.toml").read_text().split("[train-segmenter]")[1].split("seed = ")[1].split()[0])
    name = f"clicks-{'quick' if options.quick else 'voc_animals'}-seed{seed}"
    workspace = options.workspace or Path("runs") / name
    sizes = Sizes(clicked=8, teach=16, epochs=2, batch=4) if options.quick else Sizes()
    copy_finished(workspace, finished, READ)
    write_lists(workspace, sizes, options.quick)
    updates = sizes.passes(TEACH) * (sizes.teach // sizes.batch)
    result = Result(name, "python -m benchmarks.active.clicks --finished WORKSPACE", seed, updates=updates, note=options.note)
    if options.quick:
        result.path = workspace / "result.json"

    spread = choose_spread(workspace, result, options.reach, options.colour)
    result.add("spread", "reach, colour", list(spread))
    result.score(workspace, "weak", "propagate", "train", CLICKED)
    for asked in ASKED:
        ask(workspace, result, asked, seed)
        correct(workspace, result, asked, spread)
    usual = ["--reach", f"{USUAL[0]:g}", "--colour", f"{USUAL[1]:g}", "--of", "propagate", "--split", CLICKED]
    for asked in ASKED:
        labelseg(workspace, "correct", "--as", f"usual-{asked}", "--asked", f"ask@{asked}", *usual)
        result.score(workspace, f"{asked}, usual reach and colour", f"correct@usual-{asked}", CLICKED)
    for row in options.arms:
        measure(workspace, result, row, sizes)
    result.stages(workspace)
    print(json.dumps(result.values.get("answers", {}), indent=1) if options.quick else "")
    print(summary(result.values))


if __name__ == "__main__":
    main()
