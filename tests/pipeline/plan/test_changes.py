"""What enters which key: each thing that can change, the keys of a model, a map and its items that change with it, and the reason told."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from labelseg.pipeline.plan.decisions import Standing
from labelseg.pipeline.plan.graph import SPLIT_PARAM, resolve
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")
CHANGED, KEPT, UNKNOWN = "changed", "kept", "unknown before what it reads is made"
NET, CAM, TRUTH = "train-classifier", "cam", "train-segmenter@truth"
TABLES = '\n[train-classifier]\nweights = "weights.bin"\n[train-segmenter.truth]\nlabels = "masks"\n'
ALL = {f"t{number:03d}" for number in range(4)}


class Stand(NamedTuple):
    """The key of a node, the keys of its items and why it is not fresh."""

    key: str | None
    items: dict[str, str]
    reasons: tuple[str, ...]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = toy.make(tmp_path_factory.mktemp("finished") / "w", images=4)
    (root / "weights.bin").write_bytes(b"one")
    (root / "labelseg.toml").write_text(toy.TOML + TABLES)
    for image_id in ALL:
        (root / "masks" / f"{image_id}.txt").write_text("1")
    for target in (CAM, TRUTH):
        toy.ToyWorkspace(root).run(target, options=HERE)
    return root


@pytest.fixture
def root(finished, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return Path(shutil.copytree(finished, tmp_path / "w"))


def stand(root: Path, stages=toy.STAGES, environ=None, classes=toy.ToyDataset.classes) -> dict[str, Stand]:
    ws = toy.ToyWorkspace(root, stages, environ)
    ws.dataset.classes = classes
    planner = Planner(ws.dataset, ws.catalog, ws.index, ws.root)
    standings, found = {}, {}
    for node in (*resolve(ws.config, CAM, "train"), *resolve(ws.config, TRUTH)):
        decision = planner.decide(node, standings)
        standings[node.id] = decision.standing
        known = not node.is_model and decision.inputs is not None
        items = item_keys(planner, node, standings) if known else {}
        found[node.instance] = Stand(decision.key, items, toy.texts(decision.reasons))
    return found


def versioned(name: str):
    return tuple(replace(stage, version=2) if stage.name == name else stage for stage in toy.STAGES)


def write(path: str, text: str):
    return lambda root: (root / path).write_text(text)


def retrain(root: Path) -> None:
    toy.set_image(root, "t000", 9)
    toy.ToyWorkspace(root).run(CAM, options=HERE)
    toy.ToyWorkspace(root).run(NET, options=replace(HERE, retrain=True))


def move_weights(root: Path) -> None:
    (root / "weights.bin").rename(root / "moved.bin")


def nothing(root: Path) -> None:
    """Change nothing."""


ONE = ("trained on 4 of 4 images, 1 changed",)
OWL = ("classes: owl added",)
OWL_ABOVE = (*OWL, "train-classifier changed: classes: owl added")
ROWS = {
    # What changes: how, and for the model of images and tags, the map, and the model of true masks: key, items, reasons.
    "nothing": (nothing, {}, (KEPT, ()), (KEPT, set(), ()), (KEPT, ())),
    "an image": (write("images/t000.txt", "9"), {}, (CHANGED, ONE), (CHANGED, {"t000"}, ("1 changed",)), (CHANGED, ONE)),
    "an image of another split": (write("images/v1.txt", "9"), {}, (KEPT, ()), (KEPT, set(), ()), (KEPT, ())),
    "tags": (write("tags.json", '{"t000": [2]}'), {}, (CHANGED, ONE), (CHANGED, {"t000"}, ("1 changed",)), (KEPT, ())),
    "a mask": (write("masks/t000.txt", "2"), {}, (KEPT, ()), (KEPT, set(), ()), (CHANGED, ONE)),
    "classes": (nothing, {"classes": (*toy.ToyDataset.classes, "owl")}, (CHANGED, OWL), (UNKNOWN, set(), OWL_ABOVE), (CHANGED, OWL)),
    "a parameter of the map": (
        nothing, {"environ": {"LABELSEG_CAM__FLIP": "no"}},
        (KEPT, ()), (CHANGED, ALL, ("parameter flip: true -> false",)), (KEPT, ()),
    ),
    "a parameter of the model": (
        nothing, {"environ": {"LABELSEG_TRAIN_CLASSIFIER__EPOCHS": "5"}},
        (CHANGED, ("parameter epochs: 3 -> 5",)), (UNKNOWN, set(), ("train-classifier changed: parameter epochs: 3 -> 5",)), (KEPT, ()),
    ),
    "the seed": (
        nothing, {"environ": {"LABELSEG_TRAIN_SEGMENTER__SEED": "1"}},
        (KEPT, ()), (KEPT, set(), ()), (CHANGED, ("parameter seed: 0 -> 1",)),
    ),
    "the version of the map": (
        nothing, {"stages": versioned(CAM)},
        (KEPT, ()), (CHANGED, ALL, ("version 1 -> 2",)), (KEPT, ()),
    ),
    "the version of the model": (
        nothing, {"stages": versioned(NET)},
        (CHANGED, ("version 1 -> 2",)), (UNKNOWN, set(), ("train-classifier changed: version 1 -> 2",)), (KEPT, ()),
    ),
    "the content of the weights": (
        write("weights.bin", "two"), {},
        (CHANGED, ("weights changed",)), (UNKNOWN, set(), ("train-classifier changed: weights changed",)), (KEPT, ()),
    ),
    "the place of the weights": (
        move_weights, {"environ": {"LABELSEG_TRAIN_CLASSIFIER__WEIGHTS": "moved.bin"}},
        (KEPT, ()), (KEPT, set(), ()), (KEPT, ()),
    ),
    "the model that is read": (retrain, {}, (CHANGED, ()), (CHANGED, ALL, ("train-classifier was retrained",)), (CHANGED, ONE)),
}  # fmt: skip


def key_change(before: Stand, after: Stand) -> str:
    return {None: UNKNOWN, before.key: KEPT}.get(after.key, CHANGED)


@pytest.mark.parametrize("change", ROWS)
def test_a_change_reaches_the_keys_it_should_and_is_told(root, change):
    act, how, model, mapped, truth = ROWS[change]
    before = stand(root)
    act(root)
    after = stand(root, **how)
    assert (key_change(before[NET], after[NET]), after[NET].reasons) == model
    changed = {item for item, key in after[CAM].items.items() if before[CAM].items[item] != key}
    assert (key_change(before[CAM], after[CAM]), changed, after[CAM].reasons) == mapped
    assert (key_change(before[TRUTH], after[TRUTH]), after[TRUTH].reasons) == truth


def test_classes_enter_the_keys_of_items(root):
    """Where the model is the same, which a table cannot show: there the model is made anew with the map."""
    ws = toy.ToyWorkspace(root)
    node = resolve(ws.config, CAM, "train")[-1]
    planner = Planner(ws.dataset, ws.catalog, ws.index, ws.root)
    standings = {parent.node: as_it_stands(planner, parent.node) for parent in node.parents}
    keys = [item_keys(planner, node, standings)]
    ws.dataset.classes = (*ws.dataset.classes, "owl")
    keys.append(item_keys(Planner(ws.dataset, ws.catalog, ws.index, ws.root), node, standings))
    assert keys[0].keys() == keys[1].keys()
    assert not set(keys[0].values()) & set(keys[1].values())


def as_it_stands(planner, node_id):
    ref = planner.ref(node_id)
    return Standing(ref.recipe, ref, True)


def item_keys(planner, node, standings):
    entries = planner.entries(node, SPLIT_PARAM, standings)
    decision = planner.decide(node, standings)
    return planner.item_keys(decision.recipe, node, decision.inputs, entries)


def test_items_are_listed_anew_for_another_state_of_what_is_read(root):
    toy.ToyWorkspace(root).run("refine", options=HERE)
    ws = toy.ToyWorkspace(root)
    node = resolve(ws.config, "refine", "train")[-1]
    planner = Planner(ws.dataset, ws.catalog, ws.index, ws.root)
    before = {parent.node: as_it_stands(planner, parent.node) for parent in node.parents}
    listed = planner.entries(node, SPLIT_PARAM, before)
    assert planner.entries(node, SPLIT_PARAM, before) is listed
    toy.ToyWorkspace(root, environ={"LABELSEG_CAM__SCALES": "1"}).run(CAM, options=HERE)
    after = {parent.node: as_it_stands(planner, parent.node) for parent in node.parents}
    anew = planner.entries(node, SPLIT_PARAM, after)
    assert [entry.id for entry in anew] == [entry.id for entry in listed]
    assert all(now.inputs["@cam"] != then.inputs["@cam"] for now, then in zip(anew, listed, strict=True))
