"""Stage commands: flags become parameters, parameters land in labelseg.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import labelseg

from labelseg.cli import program
from labelseg.commands.running import stage_commands as stages
from labelseg.pipeline.run.options import RunOptions

TOML = '[data]\nimages = "images"\n\n[run]\ntarget = "segment"\nsplit = "val"\n'


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """What the commands would run."""
    found: list[tuple] = []
    monkeypatch.setattr(stages, "carry_out", lambda place, *arguments, **how: found.append(arguments))
    return found


@pytest.fixture
def call(calls, tmp_path):
    """Call a stage command; return target, split, params and options of the run."""
    (tmp_path / "labelseg.toml").write_text(TOML)

    def run(*words: str) -> tuple:
        result = CliRunner().invoke(program, ["-C", str(tmp_path), *words])
        assert result.exit_code == 0, result.output
        return calls[-1]

    return run


def tables(root: Path) -> dict:
    return tomllib.loads((root / "labelseg.toml").read_text())


@pytest.mark.parametrize(
    ("words", "params"),
    [
        ("cam", {}),
        ("cam --scales 0.5,1,2", {"scales": (0.5, 1.0, 2.0)}),
        ("cam --scales 1", {"scales": (1.0,)}),
        ("cam --no-flip --tags predicted", {"flip": False, "tags": "predicted"}),
        ("cam --flip", {"flip": True}),
        ("train-affinity --widths 8,16,32 --radius 4", {"widths": (8, 16, 32), "radius": 4}),
        ("train-classifier --lr 1e-3 --split train_fine --validation val", {"lr": 0.001, "split": "train_fine", "validation": "val"}),
        ("propagate --cam cam@wide --beta 4", {"cam": "cam@wide", "beta": 4.0}),
        ("train-segmenter --labels masks --weights none", {"labels": "masks", "weights": "none"}),
    ],
)
def test_only_what_is_given_becomes_a_parameter(call, words, params):
    assert call(*words.split())[2] == params


@pytest.mark.parametrize(
    ("words", "target", "split"),
    [
        ("cam", "cam", None),
        ("cam --split val", "cam", "val"),
        ("segment --as b --split val", "segment@b", "val"),
        ("train-classifier --split val", "train-classifier", None),
    ],
)
def test_the_split_of_a_stage(call, words, target, split):
    assert call(*words.split())[:2] == (target, split)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("cam", RunOptions(purpose="labelseg cam")),
        ("cam --force --only", RunOptions(purpose="labelseg cam", force=frozenset({"cam"}), only=True)),
        ("cam --as b --force", RunOptions(purpose="labelseg cam", force=frozenset({"cam@b"}), create=True)),
        ("cam --no-save", RunOptions(purpose="labelseg cam", tag="unsaved")),
        ("cam --dry-run --keep-going --retrain", RunOptions(purpose="labelseg cam", dry_run=True, keep_going=True, retrain=True)),
        ("cam --device cuda:1 --workers 3", RunOptions(purpose="labelseg cam", device="cuda:1", workers=3)),
    ],
)
def test_options_of_a_run(call, words, options):
    assert call(*words.split())[3] == options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("propagate --beta x", "propagate --beta: expected a number, got 'x'."),
        ("cam --scales 1,x", "cam --scales: expected a number, got 'x'."),
        ("train-affinity --widths 1.5", "expected a whole number, got '1.5'."),
        ("cam --scales 0", "expected at least 0.01, got 0.0."),
        ("cam --tags gven", "'gven' is not one of 'given', 'predicted'"),
        ("cam --as a.b", "expected a name without @ and dot"),
        ("cam --workers -1", "'--workers'"),
    ],
)
def test_a_wrong_value_is_refused(calls, tmp_path, words, message):
    result = CliRunner().invoke(program, ["-C", str(tmp_path), *words.split()])
    assert result.exit_code == 2
    assert message in result.stderr
    assert calls == []


def test_a_file_is_found_from_the_current_folder(call, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth").touch()
    monkeypatch.chdir(tmp_path / "sub")
    assert call("train-classifier", "--weights", "net.pth")[2] == {"weights": "sub/net.pth"}


def test_a_stage_works_on_train_but_the_target_on_the_split_of_the_run(finished):
    plans = [labelseg(finished, stage, "--force", "--dry-run").stdout for stage in ("cam", "segment")]
    assert ["cam (train)" in plans[0], "segment (val)" in plans[1]] == [True, True]


def test_options_are_written_and_comments_kept(finished):
    result = labelseg(finished, "spread", "--rows", "2")
    assert result.exit_code == 0, result.output
    assert tables(finished)["spread"] == {"rows": 2}
    assert "# class ids, 255 = ignore" in (finished / "labelseg.toml").read_text()


def test_an_instance_has_parameters_of_its_own(finished):
    result = labelseg(finished, "spread", "--as", "high", "--rows", "4")
    assert result.exit_code == 0, result.output
    assert tables(finished)["spread"] == {"high": {"rows": 4}}
    assert "spread@high" in labelseg(finished, "status").stdout


def test_a_trial_leaves_file_and_results(finished):
    before = (finished / "labelseg.toml").read_bytes()
    result = labelseg(finished, "spread", "--rows", "4", "--no-save")
    assert result.exit_code == 0, result.output
    assert (finished / "labelseg.toml").read_bytes() == before
    assert labelseg(finished, "status", "--exit-code").exit_code == 0
    unsaved, saved = (labelseg(finished, "evaluate", "spread", *words).stdout.split()[-2] for words in ([], ["--unsaved"]))
    assert unsaved != saved


def test_a_dry_run_changes_nothing(finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    result = labelseg(finished, "spread", "--rows", "4", "--dry-run")
    assert result.exit_code == 0
    assert "parameter rows: 0 -> 4" in result.stdout
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_only_refuses_what_is_not_fresh(finished):
    labelseg(finished, "config", "cam.flip", "no")
    result = labelseg(finished, "spread", "--only")
    assert result.exit_code == 4
    assert "cam" in result.stderr
