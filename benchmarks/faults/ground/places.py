"""Small workspaces to try faults on: their data, and the states that a fault may find them in."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.faults.ground.processes import ROWS_FILE, Child, call, commands, forked
from benchmarks.faults.ground.toys import STAGES, STEP
from labelseg.pipeline.declare.stage import Stage

TRAIN = {"a1": 1, "a2": 2, "deep/a3": 1, "a4": 2}
VAL = {"b1": 1, "b2": 2}
NAMES = ("background", "cat", "dog")
TOML = """\
# a small one
[data]
images = "../{data}/images"
labels = "../{data}/labels.csv"
masks = "../{data}/masks"
classes = "../{data}/classes.txt"
splits = "../{data}"

[run]
target = "segment"
split = "train"

[cam]
scales = [0.5, 1.0]  # two of them
"""
HERE = ("--workers", "0")
RUN = ("run", *HERE)
# Beside what `run` makes: another split, an instance of its own, one with a failing image, and what is tried without saving.
EXTRAS: tuple[tuple[str, ...], ...] = (
    ("spread", "--split", "val", *HERE),
    ("spread", "--as", "wide", "--rows", "2", *HERE),
    ("spread", "--as", "broken", "--fail", "a2", *HERE),
    ("cam", "--no-save", "--scales", "1", *HERE),
)
LONGER = ("train-net", "--as", "longer", "--epochs", "4", *HERE)  # what is interrupted where a training is to go on
FAILING = 3  # exit code of the instance with a failing image
LEAVES, LEAF_ROWS = "leaves", 2  # in a folder of this name are states whose items and index of files lie in leaves of so many rows
SCENES = "scenes"  # folder of the data where the stages are those of labelseg
SCENES_TOML = """\

[run]
target = "segment"
split = "val"

[train-classifier]
backbone = "tiny"
weights = "none"
validation = "val"
freeze_batchnorm = false
epochs = 2
batch_size = 2
long_side = [64, 64]
crop = 64

[cam]
scales = [1.0]

[refine]
iters = 2

[train-affinity]
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 2
batch_size = 2
crop = 64

[propagate]
flip = true

[train-segmenter]
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 2
batch_size = 2
crop = 64
width = 16

[segment]
scales = [1.0]
"""


def write_data(folder: Path) -> None:
    """Write images whose right half is their class, with every other part of a dataset; long enough ago to be indexed."""
    import numpy as np
    from PIL import Image

    for image_id, class_id in {**TRAIN, **VAL}.items():
        mask = np.zeros((8, 10), np.uint8)
        mask[:, 5:] = class_id
        picture = np.repeat((mask * STEP)[..., None], 3, axis=2) + np.uint8(len(image_id))
        for name, array in (("images", picture), ("masks", mask)):
            path = folder / name / f"{image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
        for name, array in _other_programs(class_id).items():
            path = folder / name / f"{image_id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
    rows = [f"{image_id},{NAMES[class_id]}" for image_id, class_id in {**TRAIN, **VAL}.items()]
    (folder / "labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "names.txt").write_text("\n".join(NAMES[1:]) + "\n")
    (folder / "train.txt").write_text("\n".join(TRAIN) + "\n")
    (folder / "val.txt").write_text("\n".join(VAL) + "\n")
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)


def _other_programs(class_id: int) -> dict[str, Any]:
    """What other programs say of an image of a class: scores of each class, and features of each block of two pixels."""
    import numpy as np

    scores = np.full((2, 4, 5), 0.1, np.float32)
    scores[class_id - 1, :, 2:] = 0.9
    features = np.linspace(-1, class_id, 4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
    return {"scores": scores, "features": features}


class Places:
    """States of a workspace in a folder of its own, each made once and copied for every trial.

    Args:
        base: An empty folder, or one that an earlier campaign made.
        leaf_rows: Rows from which on tables lie in leaves; 0 for labelseg's own number, of which the data has too few.
    """

    def __init__(self, base: Path, leaf_rows: int = 0) -> None:
        self.base = base
        self.leaf_rows = leaf_rows
        self._number = 0
        if not (base / "data").exists():
            write_data(base / "data")

    @cached_property
    def in_leaves(self) -> Places:
        """The same states with leaves, in a folder of their own."""
        return Places(self.base / LEAVES, LEAF_ROWS)

    @property
    def words(self) -> str:
        """What to say behind a state of these."""
        return ", in leaves" if self.leaf_rows else ""

    def state(self, name: str) -> Path:
        """The folder of a state; nobody changes it."""
        root = self.base / f"state-{name}"
        if not root.exists():
            unfinished = self.base / f"unfinished-{name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            MAKERS[name](self, unfinished)
            unfinished.rename(root)
        return root

    def copy(self, name: str) -> Path:
        """A copy of a state, free to be changed; ``drop`` removes it."""
        self._number += 1
        root = self.base / f"trial-{os.getpid()}-{self._number}"
        shutil.rmtree(root, ignore_errors=True)
        return Path(shutil.copytree(self.state(name), root, symlinks=True))

    @staticmethod
    def drop(root: Path) -> None:
        """Remove a copy."""
        shutil.rmtree(root, ignore_errors=True)


def stages_of(root: Path) -> Sequence[Stage]:
    """The stages that a workspace uses."""
    if not (root / SCENES).exists():
        return STAGES
    from labelseg.stages import STAGES as OWN

    return OWN


def _demand(root: Path, lines: Sequence[Sequence[str]]) -> None:
    """Call commands that must not fail."""
    for done in commands(root, lines, stages_of(root)):
        if done.crash or done.code not in (0, FAILING if "broken" in done.words else 0):
            raise RuntimeError(f"labelseg {' '.join(done.words)} ended with {done.code}: {done.crash or done.err}")


def _new(places: Places, root: Path) -> None:
    root.mkdir()
    (root / "labelseg.toml").write_text(TOML.format(data="data"))
    if places.leaf_rows:
        (root / ROWS_FILE).write_text(str(places.leaf_rows))


def _done(places: Places, root: Path) -> None:
    """Everything is there, also artifacts that nothing stands for any more."""
    _new(places, root)
    _demand(root, [("spread", "--rows", "1", *HERE), ("config", "spread.rows", "--unset"), RUN, *EXTRAS])


def _stale(places: Places, root: Path) -> None:
    """A parameter near the start has changed."""
    shutil.copytree(places.state("done"), root)
    _demand(root, [("config", "cam.scales", "1.0")])


def _changed(places: Places, root: Path) -> None:
    """One image changed and one came; the data is a copy."""
    shutil.copytree(places.state("done"), root)
    data = places.base / "changed-data"
    if not data.exists():
        shutil.copytree(places.base / "data", data)
        shutil.copy2(data / "images" / "b1.png", data / "images" / "a1.png")
        (data / "train.txt").write_text("\n".join([*TRAIN, "b2"]) + "\n")
    (root / "labelseg.toml").write_text((root / "labelseg.toml").read_text().replace("../data", "../changed-data"))


def _interrupted(places: Places, root: Path) -> None:
    """A training was killed after its second checkpoint."""
    shutil.copytree(places.state("done"), root)

    def work() -> None:
        from labelseg.training.checkpoints import Checkpoints

        save, saved = Checkpoints.save, []

        def save_and_die(*arguments: object) -> None:
            save(*arguments)  # type: ignore[arg-type]
            saved.append(1)
            if len(saved) == 2:
                os._exit(9)

        Checkpoints.save = save_and_die  # type: ignore[assignment,method-assign]
        call(root, LONGER, STAGES)

    Child(work).wait()
    if not list(root.glob(".labelseg/checkpoints/*/*/*.safetensors")):
        raise RuntimeError("the training that was to be interrupted left no checkpoint")


def _damaged(places: Places, root: Path) -> None:
    """One byte of a mask is wrong."""
    shutil.copytree(places.state("done"), root)
    chunk = min(root.glob(".labelseg/objects/spread/*/*/data/*/c/0"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)


def _asked(places: Places, root: Path) -> None:
    """A person was asked about pixels, and has said nothing yet."""
    shutil.copytree(places.state("done"), root)
    _demand(root, [("ask", "--of", "spread", "--choose", "random", "--budget", "4", *HERE)])


def _answered(places: Places, root: Path) -> None:
    """Every question has its answer."""
    shutil.copytree(places.state("asked"), root)
    _demand(root, [("answers", "ask", "--truth")])


def _round(places: Places, root: Path) -> None:
    """The questions of a first round have their answers, and nobody has collected them."""
    shutil.copytree(places.state("done"), root)
    asked = ("labor-select", "--round", "1", "--strategy", "random", "--points", "4", "--split", "train", *HERE)
    _demand(root, [asked, ("answers", "labor-select@1", "--truth")])


def _sharing(places: Places, root: Path) -> None:
    """A map is to be computed anew, in shares."""
    shutil.copytree(places.state("done"), root)
    _demand(root, [("config", "spread.rows", "3")])


def _shared(places: Places, root: Path) -> None:
    """Every share of a map is computed, and the whole is not made of them yet."""
    shutil.copytree(places.state("sharing"), root)
    _demand(root, [share(0), share(1)])


def share(number: int) -> tuple[str, ...]:
    """Name the command that computes one of the two shares."""
    return ("work", "spread", "--split", "train", "--shard", str(number), "--shards", "2", *HERE)


def _people(places: Places, root: Path) -> None:
    """Answers, marks and imported masks are used, a tag keeps all, another one was begun, and so were shares of a map."""
    from labelseg.answers.marks import add_mark, marks_path
    from labelseg.pipeline.files.unfinished import Unfinished

    shutil.copytree(places.state("answered"), root)
    masks = str(places.base / "data" / "masks")
    lines = (("correct", "--of", "spread", *HERE), ("import-masks", masks), ("override", "--of", "spread", *HERE), ("quality", "spread"))
    _demand(root, [*lines, ("tag", "kept")])
    add_mark(marks_path(root, "spread", "train"), "a1", "fix", "anna")
    _demand(root, [("config", "spread.rows", "3"), share(0), ("config", "spread.rows", "--unset")])
    folder = root / ".labelseg"
    Unfinished(folder).begin("begun", [folder / "refs" / "spread" / "train@begun.json"])


def _scenes(places: Places, root: Path) -> None:
    """The chain of labelseg itself, on few and small scenes."""

    def write() -> dict[str, str]:
        from labelseg.data.scenes.drawing import write_scenes

        return write_scenes(root / SCENES, train=4, val=2)

    paths = [f'{key} = "{SCENES}/{value}"' for key, value in forked(write).items()]
    (root / "labelseg.toml").write_text("\n".join(["[data]", *paths]) + "\n" + SCENES_TOML)
    _demand(root, [RUN])


def _scenes_stale(places: Places, root: Path) -> None:
    """A parameter in the middle of the chain has changed."""
    shutil.copytree(places.state("scenes"), root)
    _demand(root, [("config", "refine.iters", "3")])


MAKERS: dict[str, Callable[[Places, Path], None]] = {
    "new": _new,
    "done": _done,
    "stale": _stale,
    "changed": _changed,
    "interrupted": _interrupted,
    "damaged": _damaged,
    "asked": _asked,
    "answered": _answered,
    "people": _people,
    "round": _round,
    "sharing": _sharing,
    "shared": _shared,
    "scenes": _scenes,
    "scenes-stale": _scenes_stale,
}
