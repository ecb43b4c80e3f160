"""Toy stages and a toy dataset: small integers for images, so that every result can be worked out by hand."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelseg.errors import DataError, LabelsegError, WaitingError
from labelseg.pipeline.declare.stage import Stage, file_option, option, source, split_option
from labelseg.pipeline.store.artifacts import Model
from labelseg.workspace import Workspace

KILLS, SLEEPS = 66, 77  # images that kill the process, or take a minute

TOML = """\
# a toy
[run]
target = "spread"
split = "train"

[cam]
scales = [1.0, 2.0]  # two of them
"""


class ToyDataset:
    """Images are files that hold one number; tags and masks are derived from ``tags.json`` and ``masks.json``."""

    classes = ("background", "cat", "dog")
    has_background = True

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def splits(self) -> list[str]:
        return ["train", "val", "all"]

    def ids(self, split: str) -> list[str]:
        if split not in self.splits():
            raise DataError(f"no split '{split}'.")
        found = sorted(path.stem for path in (self.root / "images").glob("*.txt"))
        return [i for i in found if split == "all" or i.startswith("v") == (split == "val")]

    def has(self, image_id: str, kind: str) -> bool:
        return kind == "image" or (self._mask_path(image_id).exists() if kind == "mask" else self.tags(image_id) is not None)

    def identity(self, image_id: str, kind: str) -> Path | str:
        if not self.has(image_id, kind):
            raise DataError(f"{image_id} has no {kind}.")
        if kind == "tags":
            return json.dumps(self.tags(image_id))
        return self._image_path(image_id) if kind == "image" else self._mask_path(image_id)

    def image_files(self, image_ids: Iterable[str]) -> None:
        """Some files are read in another way."""

    def image(self, image_id: str) -> np.ndarray:
        text = self._image_path(image_id).read_text()
        if not text.isdigit():
            raise DataError(f"{image_id}: expected a number, got {text!r}.")
        return np.full((2, 3, 3), int(text), np.uint8)

    def tags(self, image_id: str) -> tuple[int, ...] | None:
        path = self.root / "tags.json"
        return tuple(json.loads(path.read_text()).get(image_id, [1])) if path.exists() else (1,)

    def mask(self, image_id: str) -> np.ndarray:
        return np.full((2, 3), int(self._mask_path(image_id).read_text()), np.uint8)

    def scaling(self, image_id: str) -> None:
        """Images are worked on as they are."""

    def at_file_size(self) -> ToyDataset:
        return self

    def _image_path(self, image_id: str) -> Path:
        return self.root / "images" / f"{image_id}.txt"

    def _mask_path(self, image_id: str) -> Path:
        return self.root / "masks" / f"{image_id}.txt"


def note(inputs, name: str) -> None:
    """Leave a line for the test: what was computed, in whatever process."""
    with (inputs.dataset.root / "computed.log").open("a") as file:
        file.write(f"{name}\n")


@dataclass(frozen=True, kw_only=True)
class ClassifierParams:
    epochs: int = option(3, help="Rounds.", minimum=1)
    weights: str = file_option("none", help="Initial weights.")
    split: str = split_option("train", help="Split to learn from.")
    fail: bool = option(False, help="Fail.")


def train_classifier(inputs, params) -> Model:
    """Sum the images."""
    note(inputs, "train-classifier")
    if params.fail:
        raise LabelsegError("the loss is not finite.")
    if params.weights not in ("none", "wait") and not Path(params.weights).is_absolute():
        raise DataError(f"{params.weights} cannot be opened from here.")
    if params.weights == "wait":
        raise WaitingError("three images wait for an answer.")
    checkpoint = inputs.checkpoints / "at.json"
    if (inputs.dataset.root / "interrupt").exists() and not checkpoint.exists():
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text("1")
        raise KeyboardInterrupt
    resumed = checkpoint.exists()
    total = sum(int(item.image()[0, 0, 0]) for item in inputs.items())
    inputs.log({"loss": np.float32(0.5)})
    tensors = {"w": np.array([total * params.epochs], np.int64)}
    return Model(tensors, {"classes": list(inputs.classes)}, {"resumed": resumed}, [{"epoch": 1}])


@dataclass(frozen=True, kw_only=True)
class CamParams:
    model: str = source("train-classifier", help="Classifier.", kind="model")
    scales: tuple[float, ...] = option((1.0,), help="Scales.", minimum=0.0)
    flip: bool = option(True, help="Mirror.")


def cam(inputs, params):
    """Multiply images with the model."""
    weight = int(inputs.model("model").tensors["w"][0])

    def compute(item):
        note(inputs, f"cam {item.id}")
        value = int(item.image()[0, 0, 0])
        if value == KILLS:
            os.kill(os.getpid(), 9)
        if value == SLEEPS:
            time.sleep(60)
        # Only the parity of the model matters, so that two models may give equal bytes.
        return {"scores": np.full((1, 2), value * len(params.scales) + weight % 2, np.float32), "size": np.array([2, 3], np.int32)}

    return compute


@dataclass(frozen=True, kw_only=True)
class RefineParams:
    cam: str = source("cam", help="Maps.", kind="map")
    alpha: float = option(4.0, help="Exponent.", minimum=0.0)


def refine(inputs, params):
    """Cut the scores off at a multiple of alpha."""

    def compute(item):
        note(inputs, f"refine {item.id}")
        return {"mask": np.minimum(item.read("cam")["scores"], params.alpha * 10).astype(np.uint8)}

    return compute


@dataclass(frozen=True, kw_only=True)
class SegmenterParams:
    labels: str = source("refine", help="Label source.", kind="labels")
    split: str = split_option("train", help="Split.")
    unlabeled: str = split_option("", help="Split without labels.")
    seed: int = option(0, help="Seed.")


def train_segmenter(inputs, params) -> Model:
    """Sum the masks."""
    note(inputs, "train-segmenter")
    total = sum(int(item.read("labels")["mask"].sum()) for item in inputs.items())
    return Model({"w": np.array([total + params.seed + len(inputs.items("unlabeled"))], np.int64)})


@dataclass(frozen=True, kw_only=True)
class SpreadParams:
    cam: str = source("cam", help="Maps.", kind="map")
    model: str = source("train-segmenter", help="Model.", kind="model")
    beta: float = option(8.0, help="Sharpness.", minimum=1.0, maximum=100.0)
    rule: str = option("psa", help="Rule.", choices=("psa", "irn"))


def spread(inputs, params):
    """Add everything up."""
    weight = int(inputs.model("model").tensors["w"][0]) % 100

    def compute(item):
        note(inputs, f"spread {item.id}")
        return {"mask": (item.read("cam")["scores"] + weight + params.beta).astype(np.uint8)}

    return compute


STAGES = (
    Stage("train-classifier", 1, "model", ClassifierParams, train_classifier, lambda params: {"split": ("image", "tags")}),
    Stage("cam", 1, "map", CamParams, cam, lambda params: ("image", "tags")),
    Stage("refine", 1, "map", RefineParams, refine, lambda params: ("image",), has_masks=True),
    Stage("train-segmenter", 1, "model", SegmenterParams, train_segmenter, lambda params: {"split": ("image",), "unlabeled": ("image",)}),
    Stage("spread", 1, "map", SpreadParams, spread, lambda params: (), has_masks=True),
)


class ToyWorkspace(Workspace):
    """A workspace on the toy dataset, read anew for every call as a new process would."""

    def __init__(self, root: Path, stages=STAGES, environ=None) -> None:
        super().__init__(root, stages=stages, environ=environ or {})
        self.dataset = ToyDataset(self.root)


def make(root: Path, images: int = 6) -> Path:
    """Write a workspace with some images of the split ``train`` and two of ``val``."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "labelseg.toml").write_text(TOML)
    for number in range(images):
        set_image(root, f"t{number:03d}", number % 60 + 1)
    set_image(root, "v1", 5)
    set_image(root, "v2", 6)
    return root


def set_image(root: Path, image_id: str, value: object) -> None:
    """Write one image."""
    (root / "images" / f"{image_id}.txt").write_text(str(value))


def computed(root: Path) -> list[str]:
    """Return what was computed since the last call, sorted."""
    path = root / "computed.log"
    lines = sorted(path.read_text().splitlines()) if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def texts(reasons) -> tuple[str, ...]:
    """Write reasons as they are told."""
    return tuple(map(str, reasons))
