"""What was made under an earlier declaration is known under that of today: nothing is computed for a change of names or effects alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace

import pytest

from labelseg.pipeline.declare.stage import file_option, like, option, source, split_option
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy
from tests.pipeline.toy import STAGES, ToyWorkspace, computed, make, set_image


@dataclass(frozen=True, kw_only=True)
class ClassifierParams:
    rounds: int = option(3, help="Rounds; 0 takes three.", minimum=0, formerly="epochs")
    weights: str = file_option("none", help="Initial weights.")
    split: str = split_option("train", help="Split to learn from.")
    fail: bool = option(False, help="Fail.", effective=lambda params: params.rounds > 3)

    def __post_init__(self):
        object.__setattr__(self, "rounds", self.rounds or 3)

    @property
    def epochs(self):
        return self.rounds


@dataclass(frozen=True, kw_only=True)
class CamParams(toy.CamParams):
    flip: bool = like(toy.CamParams, "flip", effective=lambda params: len(params.scales) > 2)


@dataclass(frozen=True, kw_only=True)
class RefineParams:
    maps: str = source("cam", help="Maps.", kind="map", formerly="cam")
    ceiling: float = option(4.0, help="Exponent.", minimum=0.0, formerly="alpha")

    @property
    def alpha(self):
        return self.ceiling


@dataclass(frozen=True, kw_only=True)
class SegmenterParams(toy.SegmenterParams):
    unlabeled: str = like(toy.SegmenterParams, "unlabeled", effective=lambda params: params.seed > 0)


TODAY = tuple(
    replace(stage, params=params)
    for stage, params in zip(STAGES, (ClassifierParams, CamParams, RefineParams, SegmenterParams, toy.SpreadParams), strict=True)
)


HERE = RunOptions(workers=0)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """Leave flushing to the operating system: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace in which everything ran as it was declared before."""
    root = make(tmp_path_factory.mktemp("earlier") / "w")
    ToyWorkspace(root).write_config("train-segmenter", {"unlabeled": "val"})
    ToyWorkspace(root).run(options=HERE)
    computed(root)
    return root


@pytest.fixture
def root(finished, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(finished, tmp_path / "w")


def today(root):
    return ToyWorkspace(root, TODAY)


def without_unread(root):
    """Leave out what the segmenter does not read by the declaration of today."""
    today(root).write_config("train-segmenter", {"unlabeled": None})
    return today(root)


def test_all_is_fresh_and_nothing_is_computed(root):
    without_unread(root).run(options=HERE)
    assert computed(root) == []
    assert {line.state for line in today(root).status()} == {"fresh"}


def test_an_image_that_is_added_costs_itself_alone(root):
    without_unread(root)
    set_image(root, "t900", 9)
    today(root).run(options=HERE)
    assert computed(root) == ["cam t900", "refine t900", "spread t900"]
    assert today(root).store.verify() == []


def test_items_keep_the_keys_they_were_made_under(root):
    before = ToyWorkspace(root).store.catalog
    keys = {item.id: item.key for item in before.load("cam", before.ref("cam", "train").key).items}
    without_unread(root)
    set_image(root, "t900", 9)
    today(root).run(options=HERE)
    catalog = today(root).store.catalog
    after = {item.id: item.key for item in catalog.load("cam", catalog.ref("cam", "train").key).items}
    assert {name: after[name] for name in keys} == keys


def test_a_value_that_changes_and_comes_back_finds_what_was_made_under_the_earlier_declaration(root):
    workspace = without_unread(root)
    workspace.run("cam", "train", scales=(1.0, 3.0, 4.0), options=HERE)
    assert len(computed(root)) == 6
    workspace.run("cam", "train", scales=(1.0, 2.0), options=HERE)
    workspace.run("train-classifier", rounds=5, options=HERE)
    computed(root)
    workspace.run("train-classifier", rounds=0, options=HERE)
    assert computed(root) == []


def test_a_change_that_has_an_effect_is_told_by_the_name_of_today(root):
    without_unread(root).write_config("refine", {"ceiling": 2.0})
    (line,) = [line for line in today(root).status() if line.instance == "refine"]
    assert [str(reason) for reason in line.reasons] == ["parameter ceiling: 4.0 -> 2.0"]


def test_another_source_is_told_by_the_name_of_today(root):
    workspace = without_unread(root)
    workspace.write_config("cam@wide", {"scales": (3.0,)})
    workspace.write_config("refine", {"maps": "cam@wide"})
    today(root).run("cam@wide", "train", options=HERE)
    (line,) = [line for line in today(root).status() if line.instance == "refine"]
    assert [str(reason) for reason in line.reasons] == ["maps: cam -> cam@wide"]


def test_what_has_an_effect_again_is_computed(root):
    without_unread(root).run("cam", "train", scales=(1.0, 2.0, 3.0), flip=True, options=HERE)
    computed(root)
    today(root).run("cam", "train", flip=False, options=HERE)
    assert len(computed(root)) == 6


def test_a_model_stays_fresh_when_an_image_comes_that_it_does_not_learn_from(tmp_path):
    root = make(tmp_path / "w")
    (root / "masks" / "t000.txt").write_text("1")
    ToyWorkspace(root).write_config("train-segmenter", {"labels": "masks", "unlabeled": "val"})
    ToyWorkspace(root).run("train-segmenter", options=HERE)
    computed(root)
    without_unread(root)
    set_image(root, "t900", 9)  # without a mask
    today(root).run("train-segmenter", options=RunOptions(workers=0, retrain=True))
    assert computed(root) == []
    assert [line.state for line in today(root).status() if line.instance == "train-segmenter"] == ["fresh"]


def test_another_version_is_another_result(root):
    without_unread(root)
    raised = tuple(replace(stage, version=2) if stage.name == "cam" else stage for stage in TODAY)
    ToyWorkspace(root, raised).run("cam", "train", options=HERE)
    assert len(computed(root)) == 6
