"""A dry run that tries how long the work takes: it measures, changes nothing, and scales what cannot begin yet by what can."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from labelseg.cli import program
from labelseg.commands.plan_text import calibrated
from labelseg.errors import DataError
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.run import probing
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.planning import planned
from labelseg.workspace import Workspace

TINY = 'backbone = "tiny"\nweights = "none"\nfreeze_batchnorm = false\nbatch_size = 4\ncrop = 64\nwarmup_share = 0.5\nmin_updates = 0\n'
DRY = RunOptions(dry_run=True, workers=0)


@pytest.fixture
def root(tmp_path):
    settings = f"[train-classifier]\nepochs = 5\nlong_side = [64, 72]\n{TINY}[cam]\nscales = [1.0]\n"
    (tmp_path / "labelseg.toml").write_text(
        f'[data]\nscenes = {{train = 8, val = 2}}\n[run]\ntarget = "refine"\nsplit = "train"\n{settings}'
    )
    return tmp_path


def command(root, *words, code=0):
    result = CliRunner().invoke(program, ["-C", str(root), *words])
    assert result.exit_code == code, result.output
    return result.output


def tree(root):
    """Every file with its bytes."""
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def probed(root, target="refine"):
    with planned(Workspace(root), target, "train", options=DRY) as plan:
        return probing.probe(plan)


class Ticks:
    """A clock that shows 1, 4, 9, ... seconds, further on at every look."""

    def __init__(self):
        self.looks = 0

    def perf_counter(self):
        self.looks += 1
        return float(self.looks**2)


def test_what_can_begin_is_tried_and_counts_all_its_updates(root, monkeypatch):
    monkeypatch.setattr(probing, "time", Ticks())
    # Looks at the clock: the beginning, the end of the first update, the end of the fourth; 5 seconds for 3 updates, of 10.
    assert probed(root) == {NodeId("train-classifier", ""): pytest.approx((9 - 4) / 3 * 10)}


def test_an_image_of_a_map_counts_for_all_that_are_missing(root, monkeypatch):
    command(root, "train-classifier", "--workers", "0")
    monkeypatch.setattr(probing, "time", Ticks())
    assert probed(root) == {NodeId("cam", "train"): pytest.approx(8 * (4 - 1))}  # refine reads maps that are not there


def test_a_short_training_is_tried_to_its_end(root, monkeypatch):
    command(root, "config", "train-classifier.epochs", "1")
    monkeypatch.setattr(probing, "time", Ticks())
    assert probed(root) == {NodeId("train-classifier", ""): pytest.approx((9 - 4) * 2)}  # the second update, of two


def test_nothing_changes_and_the_table_says_what_was_tried(root):
    command(root, "status")
    before = tree(root)
    told = command(root, "run", "--dry-run", "--probe")
    assert tree(root) == before
    rows = {line.split("  ")[0]: line for line in told.splitlines()}
    assert "s+ " in rows["train-classifier"]
    assert "+ tried on this machine now" in told


def test_a_trial_that_fails_is_left_out(root, monkeypatch):
    command(root, "train-classifier", "--workers", "0")
    monkeypatch.setattr(probing, "_image", lambda *_: (_ for _ in ()).throw(DataError("a broken image")))
    assert probed(root) == {}
    assert "cam (train)" in command(root, "run", "--dry-run", "--probe")


def test_figures_are_scaled_by_the_median_of_what_was_tried():
    scaled = {("a", ""): 10.0, ("b", "train"): 4.0, ("c", "train"): 2.0, ("d", "val"): 7.0}
    tried = {("a", ""): 20.0, ("b", "train"): 12.0, ("c", "train"): 2.0, ("e", ""): 1.0}
    assert calibrated(scaled, tried) == {place: 2 * seconds for place, seconds in scaled.items()}
    assert calibrated(scaled, {}) == scaled


def test_a_probe_without_a_dry_run_is_refused(root):
    assert "Add --dry-run" in command(root, "run", "--probe", code=2)
    assert "Add --dry-run" in command(root, "cam", "--probe", code=2)
