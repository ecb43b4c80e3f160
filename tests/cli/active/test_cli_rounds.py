"""Rounds of questions on the command line: code 6, the budget, and bad input."""

from __future__ import annotations

import json

import pytest
from conftest import labelseg

from labelseg.cli import STAGES

SETTINGS = """
[data]
scenes = {train = 2, val = 1}

[data.target]
scenes = {train = 2, val = 1, style = "dusk", seed = 1}

[run]
target = "labor-annotate@1"

[labor-select]
strategy = "random"
points = 3
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "labelseg.toml").write_text(SETTINGS + "\n[labor-annotate.1]\n")
    return tmp_path / "w"


def run(root, *words):
    return labelseg(root, *words, stages=STAGES)


def test_a_run_ends_with_code_6_until_all_is_answered_and_then_tells_the_budget(root):
    before = run(root, "budget")
    assert (before.exit_code, before.stdout) == (0, "")
    assert "Run: labelseg labor-annotate --round 1" in before.stderr
    assert json.loads(run(root, "budget", "--json").stdout) == []
    waiting = run(root, "run", "--workers", "0")
    assert (waiting.exit_code, "6 of 6 questions of labor-select@1 (target:train) are open" in waiting.output) == (6, True)
    assert "labelseg annotate labor-select@1 --split target:train" in waiting.output
    (root / "said.csv").write_text("image,y,x,class\ntarget:train_0000,1,1,cross\n")
    refused = run(root, "answers", "labor-select@1", "--import", root / "said.csv")
    assert (refused.exit_code, "line 2: nobody asked about row 1, column 1" in refused.output) == (1, True)
    assert run(root, "answers", "labor-select@1", "--truth").exit_code == 0
    assert run(root, "run", "--workers", "0").exit_code == 0
    (spent,) = json.loads(run(root, "budget", "--json").stdout)
    assert (spent["instance"], spent["images"], spent["now"], spent["asked"]) == ("labor-annotate@1", 2, 6, 6)
    assert sum(spent["by_class"].values()) == spent["labelled"] <= 6
    shown = run(root, "budget").stdout
    assert "labor-annotate@1  target:train" in shown
    assert "3.0" in shown


def test_the_rounds_of_a_chain_exist_together(root):
    status = {row["instance"] for row in json.loads(run(root, "status", "--json").stdout)}
    assert {"labor-select@1", "labor-annotate@1", "train-uda@0", "train-uda@1", "train-selector@1"} <= status
    late = run(root, "labor-select", "--round", "0")
    assert (late.exit_code, "round" in late.output) == (2, True)
