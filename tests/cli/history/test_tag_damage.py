"""tag: what happens to a kept state whose manifest is cut short."""

from __future__ import annotations

import shutil

import pytest
import toy_chain
from conftest import labelseg

from labelseg.workspace import Workspace


@pytest.fixture
def cut(finished):
    """A workspace with a tag on masks that nothing else stands for any more, whose manifest was cut short."""
    labelseg(finished, "tag", "before", "spread")
    labelseg(finished, "spread", "--rows", "4")
    return truncate(finished, "spread", "train")


def truncate(root, instance, split):
    ws = Workspace(root, stages=toy_chain.STAGES)
    path = ws.catalog.manifest_path(instance, ws.ref(instance, split, "before").key)
    path.write_bytes(path.read_bytes()[:200])
    return root


@pytest.fixture
def scored(finished):
    labelseg(finished, "tag", "before", "spread")
    return labelseg(finished, "evaluate", "spread", "--tag", "before", "--json").stdout


@pytest.mark.parametrize("words", [["evaluate", "spread", "--tag", "before"], ["show", "spread", "--tag", "before"], ["verify"]])
def test_every_reader_names_the_damage_and_the_repair(cut, words):
    result = labelseg(cut, *words)
    assert result.exit_code == 1
    assert "is damaged" in result.output
    assert "labelseg verify --repair spread" in result.output


def test_neither_a_run_nor_gc_takes_anything_from_it(cut, finished):
    parts = sorted((cut / ".labelseg" / "objects" / "spread").rglob("*.zarr"))
    assert labelseg(cut, "run").exit_code == 0
    assert "Nothing of spread goes" in labelseg(cut, "gc").stderr
    assert sorted((cut / ".labelseg" / "objects" / "spread").rglob("*.zarr")) == parts


def test_a_repair_brings_it_back_from_its_items(scored, cut):
    result = labelseg(cut, "verify", "--repair")
    assert (result.exit_code, result.stderr) == (0, "Repaired: 1 of 1 problems.\nAll artifacts are what was written.\n")
    assert labelseg(cut, "evaluate", "spread", "--tag", "before", "--json").stdout == scored
    assert labelseg(cut, "gc").exit_code == 0
    assert labelseg(cut, "evaluate", "spread", "--tag", "before", "--json").stdout == scored
    assert labelseg(cut, "verify").exit_code == 0


def test_of_a_model_it_is_told_that_it_is_gone_and_what_to_do(finished):
    labelseg(finished, "tag", "before", "train-net")
    labelseg(finished, "run", "--force", "train-net")
    labelseg(finished, "config", "train-net.epochs", "5")
    labelseg(finished, "train-net")
    result = labelseg(truncate(finished, "train-net", ""), "verify", "--repair")
    assert result.exit_code == 1
    assert "train-net:before is gone: its record or all it held was damaged. Run it with its parameters" in result.stderr
    assert "1 tagged artifact lacks what was damaged" in result.stderr


def test_items_of_another_state_are_not_taken_for_it(cut):
    """The digest of the ref decides: without one of its parts nothing is made up."""
    kept = Workspace(cut, stages=toy_chain.STAGES).ref("spread", "train", "before")
    parts = [path for path in (cut / ".labelseg" / "objects" / "spread").rglob("*.zarr") if kept.run in (path / "zarr.json").read_text()]
    shutil.rmtree(parts[0])
    result = labelseg(cut, "verify", "--repair")
    assert result.exit_code == 1
    assert "spread:before (train) is gone" in result.stderr
