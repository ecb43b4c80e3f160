"""What a target reads, and in which split."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.stage import Stage, source
from labelseg.pipeline.plan.graph import NodeId, ancestors, resolve
from tests.pipeline import toy


@dataclass(frozen=True, kw_only=True)
class LoopParams:
    cam: str = source("back", help="Maps.", kind="map")


LOOPS = (
    Stage("forth", 1, "map", LoopParams, toy.refine, lambda params: ()),
    Stage("back", 1, "map", LoopParams, toy.refine, lambda params: ()),
)


def config(tmp_path, text: str = "", stages=toy.STAGES) -> Config:
    (tmp_path / "labelseg.toml").write_text(text)
    return Config.load(tmp_path, stages, {})


def ids(nodes) -> list[str]:
    return [str(node.id) for node in nodes]


def test_parents_come_first(tmp_path):
    expected = ["train-classifier", "cam (train)", "refine (train)", "train-segmenter", "spread (train)"]
    assert ids(resolve(config(tmp_path), "spread", "train")) == expected


def test_maps_are_read_in_the_split_of_the_reader(tmp_path):
    nodes = resolve(config(tmp_path), "spread", "val")
    # The segmenter learns from its own split, whatever split is spread.
    assert ids(nodes) == ["train-classifier", "cam (val)", "cam (train)", "refine (train)", "train-segmenter", "spread (val)"]


def test_a_model_reads_maps_in_the_split_of_its_parameter(tmp_path):
    nodes = resolve(config(tmp_path, '[train-segmenter]\nsplit = "all"\n'), "train-segmenter")
    assert ids(nodes) == ["train-classifier", "cam (all)", "refine (all)", "train-segmenter"]


def test_an_instance_reads_what_it_names(tmp_path):
    nodes = resolve(config(tmp_path, '[cam.wide]\n[refine]\ncam = "cam@wide"\n'), "refine", "train")
    assert ids(nodes) == ["train-classifier", "cam@wide (train)", "refine (train)"]


def test_overrides_choose_what_is_read(tmp_path):
    nodes = resolve(config(tmp_path), "train-segmenter", overrides={"labels": "masks"})
    assert ids(nodes) == ["train-segmenter"]
    assert nodes[0].parents[0].node is None


def test_ancestors_leave_out_what_is_not_read(tmp_path):
    nodes = resolve(config(tmp_path), "spread", "train")
    assert ancestors(nodes, NodeId("cam", "train")) == {NodeId("cam", "train"), NodeId("train-classifier", "")}


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "spraed", "Did you mean 'spread'?"),
        ('[refine]\ncam = "kam"\n', "refine", "refine --cam kam: 'kam' is no stage. Did you mean 'cam'?"),
        ('[refine]\ncam = "cam@wide"\n', "refine", "[cam.wide]"),
        ('[refine]\ncam = "train-classifier"\n', "refine", "train-classifier is a model, not maps of a split"),
        ('[cam]\nmodel = "refine"\n', "cam", "refine trains no model. Name one of: train-classifier, train-segmenter."),
        ('[train-segmenter]\nlabels = "cam"\n', "train-segmenter", "cam writes no masks. Name one of: masks, refine, spread."),
        ('[train-segmenter]\nsplit = ""\n', "train-segmenter", "names no split"),
        ('[train-segmenter]\nlabels = "spread"\n', "spread", "reads"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, target, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        resolve(config(tmp_path, text), target, "train")


def test_a_circle_is_told_step_by_step(tmp_path):
    with pytest.raises(UsageError, match=re.escape("back (train) reads back (train)")):
        resolve(config(tmp_path, stages=LOOPS), "forth", "train")


def test_a_map_needs_a_split(tmp_path):
    with pytest.raises(UsageError, match="--split"):
        resolve(config(tmp_path), "cam", "")
