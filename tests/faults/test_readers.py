"""Every reader of a file that someone else may have written: whatever stands in it, an error of labelseg comes out, or a plain result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import Linear

from benchmarks.faults.ground.processes import call
from benchmarks.faults.ground.toys import STAGES, Momentum
from labelseg.data.dataset import open_dataset
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.plan.runlog import Marker, Markers, RunLog
from labelseg.pipeline.run.status import status
from labelseg.pipeline.store.manifests import Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import Store
from labelseg.results.scores import open_ref
from labelseg.training.checkpoints import Checkpoints, Progress
from labelseg.workspace import Workspace
from tests.faults.mutations import bytes_changed, crashes, value_changed

KEY = "0123456789abcdef" * 2
NAMES = ("background", "cat", "dog")
TOML = """\
[data]
images = "images"
labels = "labels.csv"
masks = "masks"
classes = "classes.txt"
splits = "splits"
long_side = 64

[data.town]
images = "images"
splits = "splits"

[run]
target = "segment"
split = "train"

[cam]
scales = [0.5, 1.0]

[spread.wide]
rows = 2
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A workspace with one file of every kind; a test puts back what it changes."""
    root = tmp_path_factory.mktemp("readers")
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir()
    for name in ("a1", "a2"):
        Image.new("RGB", (3, 2)).save(root / "images" / f"{name}.png")
        Image.new("L", (3, 2)).save(root / "masks" / f"{name}.png")
    (root / "labels.csv").write_text("image,labels\na1,cat\na2,cat;dog\n")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (root / "splits" / "train.txt").write_text("a1\na2\n")
    (root / "labelseg.toml").write_text(TOML)
    folder = root / ".labelseg"
    store = Store(folder)
    arrays = {"mask": np.ones((2, 3), np.uint8)}
    places = store.write_part("spread", {"version": 1}, [PartItem(name, KEY, arrays) for name in ("a1", "a2")])
    items = [ManifestItem(name, KEY, *place) for name, place in zip(("a1", "a2"), places, strict=True)]
    plain = {"version": 1, "params": {}, "classes": list(NAMES), "splits": {}}
    cam = {"stage": "cam", **plain, "sources": {}}
    recipe = {"stage": "spread", **plain, "sources": {"cam": {"instance": "cam", "recipe": cam}}, "inputs": {"cam": KEY}}
    made = Manifest(stage="spread", version=1, key=KEY, params={"rows": 0}, recipe=recipe, items=items, created="2026-01-01")
    store.catalog.publish(made)
    store.catalog.set_ref(Ref(instance="spread", split="train", key=KEY, digest=made.digest, count=2, recipe=recipe))
    Markers(folder).write(NodeId("spread", "train"), Marker("running", run="r", pid=1, started="2026-01-01", birth="b"))
    index = FileIndex(folder / "files.json")
    index.digest(root / "labels.csv")
    index.path.write_text(json.dumps({"format": 1, "files": {str(root / "labels.csv"): [1, 2, 3, KEY]}}))
    RunLog(folder, "20260101-000000-abcdef").event({"event": "done", "instance": "spread", "split": "train", "reasons": [], "computed": 2})
    checkpoints(root).save(Progress(1, {"loss": 0.5}, [{"epoch": 1}], 1, 0.5, {"w": torch.ones(2)}), {"net": Linear(1, 1)}, Momentum())
    return root


def checkpoints(root: Path) -> Checkpoints:
    """The checkpoints of one training."""
    return Checkpoints(root / ".labelseg" / "checkpoints" / "train-net" / KEY, {"epochs": 3})


def checkpoint(root: Path) -> None:
    """Go on from a checkpoint."""
    checkpoints(root).load({"net": Linear(1, 1)}, Momentum())


def logs(root: Path) -> None:
    """Tell of all runs, as ``labelseg log`` does."""
    told = call(root, ("log", "--json"), STAGES)
    assert not told.crash, told.crash


def everything(root: Path) -> None:
    """Ask for the state of everything, as ``labelseg status`` does."""
    status(Workspace(root, stages=STAGES))


def artifact(root: Path) -> None:
    """Read every item of what stands."""
    workspace = Workspace(root, stages=STAGES)
    for ref in workspace.catalog.refs(tagged=True):
        found = open_ref(workspace, ref)
        for image_id in found:
            found[image_id]


def dataset(root: Path) -> None:
    """Read everything that the data says of its images."""
    data = open_dataset(root, Config.load(root, STAGES).data)
    assert isinstance(data.classes, tuple)
    for split in data.splits():
        for image_id in data.ids(split):
            data.tags(image_id)
            data.has(image_id, "mask")


def file_index(root: Path) -> None:
    """Digest a file that the index knows."""
    FileIndex(root / ".labelseg" / "files.json").digest(root / "labels.csv")


def marker(root: Path) -> None:
    """Ask whether the process of a marker lives."""
    found = Markers(root / ".labelseg").read(NodeId("spread", "train"))
    assert found is None or found.alive in (True, False)


def config(root: Path) -> None:
    """Read every parameter."""
    found = Config.load(root, STAGES, {})
    for instance in found.instances():
        found.params(instance)
        found.split_of(instance)


JSON_FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "manifest": (".labelseg/manifests/spread/*.json", artifact),
    "ref": (".labelseg/refs/spread/*.json", artifact),
    "ref, for the status": (".labelseg/refs/spread/*.json", everything),
    "part header": (".labelseg/objects/spread/*/*.zarr/zarr.json", artifact),
    "header of an array": (".labelseg/objects/spread/*/*.zarr/data/mask.uint8/zarr.json", artifact),
    "marker": (".labelseg/runs/markers/*.json", marker),
    "log of a run": (".labelseg/runs/2*/log.jsonl", logs),
    "index of files": (".labelseg/files.json", file_index),
}
OTHER_FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "data of a part": (".labelseg/objects/spread/*/*.zarr/data/mask.uint8/c/0", artifact),
    "checkpoint": (".labelseg/checkpoints/*/*/last.safetensors", checkpoint),
    "best state of a checkpoint": (".labelseg/checkpoints/*/*/best-1.safetensors", checkpoint),
    "labelseg.toml": ("labelseg.toml", config),
    "labelseg.toml, for the status": ("labelseg.toml", everything),
    "labelseg.toml, for the data": ("labelseg.toml", dataset),
    "label table": ("labels.csv", dataset),
    "class list": ("classes.txt", dataset),
    "list of a split": ("splits/train.txt", dataset),
}


def test_the_workspace_reads_well_as_long_as_nothing_is_changed(root):
    for _, read in (*JSON_FILES.values(), *OTHER_FILES.values()):
        read(root)


@pytest.mark.parametrize("name", JSON_FILES | OTHER_FILES)
def test_changed_bytes_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *(JSON_FILES | OTHER_FILES)[name], bytes_changed) == []


@pytest.mark.parametrize("name", JSON_FILES)
def test_changed_values_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *JSON_FILES[name], value_changed) == []
