"""sweep: every combination, computed once, in order of its score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import labelseg
from toy_chain import STAGES

from labelseg.errors import UsageError
from labelseg.tuning.grid import Trial, by_score, combinations, read_grid
from labelseg.tuning.grid_plots import lines_of
from labelseg.workspace import Workspace

STAGE = {stage.name: stage for stage in STAGES}


def sweep(root, *words):
    return labelseg(root, "sweep", *words, "--workers", 0)


def trials(root, *words):
    result = sweep(root, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_combination_is_scored_and_the_best_comes_first(finished):
    before = (finished / "labelseg.toml").read_bytes()
    workspace = Workspace(finished, stages=STAGES)
    kept = workspace.ref("spread", "train").key
    found = trials(finished, "spread", "--rows", "4,0,8")
    assert [trial["values"] for trial in found] == [{"rows": 0}, {"rows": 4}, {"rows": 8}]
    # Masks of 8 rows whose right half is the class; of the first rows that is called background.
    half = 40
    for trial, rows in zip(found, (0, 4, 8), strict=True):
        hit, missed = half - 5 * rows, 5 * rows
        assert trial["miou"] == pytest.approx(np.mean([half / (half + missed), hit / half, hit / half]))
        assert trial["accuracy"] == pytest.approx(1 - missed / 80)
        assert (trial["images"], trial["error"]) == (3, "")
    assert [trial["computed"] for trial in found] == [0, 3, 3]  # rows 0 is what stands
    assert (finished / "labelseg.toml").read_bytes() == before
    assert Workspace(finished, stages=STAGES).ref("spread", "train").key == kept
    assert "sweep" not in labelseg(finished, "tag", "--list").output


def test_what_was_computed_is_not_computed_again(finished):
    assert [trial["computed"] for trial in trials(finished, "spread", "--rows=2,4")] == [3, 3]
    assert [trial["computed"] for trial in trials(finished, "spread", "--rows=2,4,6")] == [0, 0, 3]
    result = labelseg(finished, "spread", "--rows", 4, "--workers", 0)
    assert "reuse" in result.stderr


def test_what_is_read_is_brought_up_to_date_once(finished):
    labelseg(finished, "config", "cam.flip", "false")
    result = sweep(finished, "spread", "--rows", "0,1")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("cam (train): 3 images") == 1
    assert labelseg(finished, "status").output.count("cam") == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["rows", "MIOU", "ACCURACY", "COMPUTED", "TIME"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1"]
    assert "To use it: labelseg spread --rows 0" in result.stderr


def test_two_parameters_make_a_table_and_a_picture(finished, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    labelseg(finished, "segment", "--split", "val", "--workers", 0)
    result = sweep(finished, "cam", "--flip", "true,false", "--scales", "1;0.5,1", "--plot", tmp_path / "a.svg")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 5
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_combination_that_fails_costs_no_other(finished):
    result = sweep(finished, "cam", "--fail", "a1,x", "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert {trial["values"]["fail"]: trial["images"] for trial in found} == {"a1": 2, "x": 3}
    assert "1 combination failed in part or whole" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("spread --row 1,2", "it has no parameter 'row'. Did you mean 'rows'?"),
        ("spread --rows 1,x", "sweep spread --rows: expected a whole number"),
        ("spread --rows -1", "sweep spread --rows"),
        ("spread --rows", "--rows names no values"),
        ("spread 1,2", "expected --PARAMETER VALUE,VALUE, got '1,2'"),
        ("spread", "expected values to try"),
        ("spread --rows 1 --rows 2", "--rows is named twice"),
        ("train-net --epochs 1,2", "it makes no masks to score"),
        ("spread --rows 1,2 --split vall", "Did you mean 'val'?"),
        ("spread --rows 1,2 --plot a.txt", "ends in .png, .svg or .pdf"),
        ("spread --cam spread,cam", "spread"),
        ("spred --rows 1", "Did you mean 'spread'?"),
    ],
)
def test_sweep_refuses(finished, words, message):
    result = sweep(finished, *words.split())
    assert result.exit_code in (1, 2)
    assert message in result.stderr.replace("\n", " ")


def test_a_grid_has_every_combination_once():
    grid = read_grid(STAGE["cam"], ["--flip=true,false,true", "--scales", "1;0.5,1"])
    assert grid == {"flip": (True, False), "scales": ((1.0,), (0.5, 1.0))}
    assert len({tuple(values.items()) for values in combinations(grid)}) == 4
    with pytest.raises(UsageError, match=r"1,001 combinations are more than 1,000"):
        read_grid(STAGE["spread"], ["--rows", ",".join(map(str, range(1001)))])


def test_trials_are_put_in_order_and_into_lines():
    grid = {"a": (1, 2), "b": (0.5, 1.0)}
    found = [Trial({"a": 2, "b": 1.0}, 0.25), Trial({"a": 1, "b": 0.5}), Trial({"a": 1, "b": 1.0}, 0.75), Trial({"a": 2, "b": 0.5}, 0.0)]
    assert [trial.miou for trial in by_score(found)] == [0.75, 0.25, 0.0, None]
    assert lines_of(grid, found) == {"b 0.5": [(2, 0.0)], "b 1": [(1, 0.75), (2, 0.25)]}
