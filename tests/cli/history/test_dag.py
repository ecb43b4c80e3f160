"""dag: what reads what, and how each stands."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest
import toy_chain
from conftest import labelseg

from labelseg.pipeline.instances import stage_of
from labelseg.results.dependencies import Dependency, Read, dependencies, mermaid
from labelseg.stages import STAGES
from labelseg.workspace import Workspace

BY_NAME = {stage.name: stage for stage in STAGES}

CHAIN = [
    ("train-net", "", "fresh", []),
    ("segment", "val", "fresh", [("model", "train-net", "")]),
    ("cam", "train", "fresh", [("model", "train-net", "")]),
    ("spread", "train", "fresh", [("cam", "cam", "train")]),
]


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"]])
def test_every_instance_is_told_with_what_it_reads(finished, words):
    found = json.loads(labelseg(finished, "dag", *words).stdout)
    told = [(e["instance"], e["split"], e["state"], [(r["role"], r["instance"], r["split"]) for r in e["reads"]]) for e in found]
    assert told == CHAIN
    assert not any(entry["recorded"] for entry in found)


def test_the_table_tells_states_and_roles(finished):
    labelseg(finished, "config", "cam.flip", "no")
    rows = [re.split(" {2,}", line) for line in labelseg(finished, "dag").stdout.splitlines()]
    assert rows == [
        ["STAGE", "SPLIT", "STATE", "READS"],
        ["train-net", "fresh"],
        ["segment", "val", "fresh", "model: train-net"],
        ["cam", "train", "stale", "model: train-net"],
        ["spread", "train", "stale", "cam: cam (train)"],
    ]


def test_the_flow_chart_has_an_arrow_for_everything_that_is_read(finished):
    lines = labelseg(finished, "dag", "--format", "mermaid").stdout.splitlines()
    assert lines == [
        "flowchart LR",
        '  n0["train-net<br/>fresh"]',
        '  n1["segment (val)<br/>fresh"]',
        '  n2["cam (train)<br/>fresh"]',
        '  n3["spread (train)<br/>fresh"]',
        '  n0 -->|"model"| n1',
        '  n0 -->|"model"| n2',
        '  n2 -->|"cam"| n3',
    ]


def test_names_of_users_do_not_break_the_flow_chart():
    entry = Dependency("cam@a]b", 'x"y', "fresh", (Read("labels", "masks"), Read("cam", "cam@gone", "train")))
    assert mermaid([entry]).splitlines()[1:] == [
        '  n0["cam@a#93;b (x#34;y)<br/>fresh"]',
        '  n1["masks"]',
        '  n2["cam@gone (train)<br/>missing"]',
        '  n1 -->|"labels"| n0',
        '  n2 -->|"cam"| n0',
    ]


def test_an_instance_that_left_the_file_is_told_with_what_it_had_read(finished):
    labelseg(finished, "spread", "--as", "wide", "--rows", "1")
    text = (finished / "labelseg.toml").read_text()
    (finished / "labelseg.toml").write_text(text[: text.index("[spread.wide]")])
    (entry,) = [e for e in dependencies(Workspace(finished, stages=toy_chain.STAGES)) if e.instance == "spread@wide"]
    assert (entry.split, entry.state, entry.reads, entry.recorded) == ("train", "stale", (Read("cam", "cam", "train"),), True)


def test_roles_go_by_the_options_that_a_person_can_type(data, tmp_path):
    assert labelseg(tmp_path / "w", "init", "--from", data, stages=STAGES).exit_code == 0
    found = {entry["instance"]: entry["reads"] for entry in json.loads(labelseg(tmp_path / "w", "dag", "--json", stages=STAGES).stdout)}
    assert [read["role"] for read in found["train-affinity"]] == ["affinity_labels"]
    assert [read["role"] for read in found["train-affinity@two"]] == ["init", "affinity_labels"]
    assert "affinity-labels: affinity-labels (train)" in labelseg(tmp_path / "w", "dag", stages=STAGES).stdout
    named = {name: {field.name for field in fields(stage.params)} for name, stage in BY_NAME.items()}
    assert all(read["role"] in named[stage_of(name)] for name, reads in found.items() for read in reads)


def test_what_is_recorded_goes_by_the_options_too(finished):
    labelseg(finished, "spread", "--as", "twin")
    (finished / "labelseg.toml").write_text((finished / "labelseg.toml").read_text().replace("[spread.twin]", ""))
    found = json.loads(labelseg(finished, "dag", "--json").stdout)
    twin, plain = (next(entry for entry in found if entry["instance"] == name) for name in ("spread@twin", "spread"))
    assert (twin["recorded"], twin["reads"]) == (True, plain["reads"])
