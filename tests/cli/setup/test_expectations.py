"""How long work may take that was never done here."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from labelseg.cli import program
from labelseg.commands.expectations import FIGURES, scaled_seconds
from labelseg.pipeline.plan.graph import resolve
from labelseg.workspace import Workspace


def made(root, text=""):
    root.mkdir()
    (root / "labelseg.toml").write_text(f'[data]\nscenes = {{train = 20, val = 4}}\n[run]\ntarget = "segment"\nsplit = "val"\n{text}')
    return Workspace(root)


def seconds(workspace, images, workers=2):
    return scaled_seconds(workspace.dataset, resolve(workspace.config, "segment", "val"), images, workers)


def test_figures_are_scaled_by_images_passes_and_pixels(tmp_path, monkeypatch):
    workspace = made(tmp_path / "w", "[train-classifier]\nepochs = 3\nbatch_size = 10\ncrop = 160\n")
    monkeypatch.setattr("labelseg.commands.expectations._side", lambda dataset: 640.0)
    found = seconds(workspace, {("cam", "train"): 20, ("segment", "val"): 4})
    assert found["cam", "train"] == pytest.approx(FIGURES["cam"] * 20 * 4)
    assert found["segment", "val"] == pytest.approx(57 / 222 * 4 * 4)
    assert found["train-classifier", ""] == pytest.approx(390 / (1126 * 6) * 20 * 3 / 4)
    assert ("affinity-labels", "train") not in found
    more = seconds(workspace, {("cam", "train"): 20, ("segment", "val"): 4}, workers=8)
    assert more["cam", "train"] == pytest.approx(found["cam", "train"] / 4)
    assert more["segment", "val"] == pytest.approx(found["segment", "val"] / 2)  # four images keep four workers busy
    assert more["train-classifier", ""] == found["train-classifier", ""]


def test_another_backbone_has_no_estimate_nor_has_what_reads_it(tmp_path):
    workspace = made(tmp_path / "w", '[train-classifier]\nbackbone = "resnet18"\n')
    found = seconds(workspace, {("cam", "train"): 20, ("segment", "val"): 4})
    assert ("cam", "train") not in found
    assert ("train-classifier", "") not in found


def test_a_dry_run_says_which_numbers_were_not_measured_here(tmp_path):
    made(tmp_path / "w")
    done = CliRunner().invoke(program, ["-C", str(tmp_path / "w"), "run", "--dry-run"])
    assert done.exit_code == 0, done.output
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "s*" in rows["cam (train)"]
    assert "s*" in rows["train-classifier"]
    assert "* not measured here: scaled by images, passes, pixels and workers" in done.stdout
