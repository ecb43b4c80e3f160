"""Further data sets: what is written, and what is refused before anything is."""

from __future__ import annotations

import shutil
import tomllib

import pytest
from conftest import labelseg

from labelseg.cli import STAGES
from labelseg.data.dataset import open_dataset


def run(root, *words):
    return labelseg(root, *words, stages=STAGES)


def tables(root):
    return tomllib.loads((root / "labelseg.toml").read_text())


@pytest.fixture
def root(data, tmp_path):
    shutil.copytree(data, tmp_path / "dusk")
    assert run(tmp_path / "w", "init", "--from", data).exit_code == 0
    return tmp_path / "w"


def test_a_second_data_set_is_added_beside_the_first(root, data, tmp_path):
    before = open_dataset(root, tables(root)["data"]).ids("train")
    dusk = tmp_path / "dusk"
    done = run(root, "data", "add", "target", "--images", dusk / "images", "--masks", dusk / "masks", "--val", 0.4)
    assert done.exit_code == 0, done.output
    assert tables(root)["data"]["target"]["fractions"] == {"val": 0.4, "seed": 0}
    dataset = open_dataset(root, tables(root)["data"])
    assert dataset.ids("train") == before
    assert sorted(dataset.ids("target:train") + dataset.ids("target:val")) == dataset.ids("target:all")
    assert "target:train" in done.stdout
    assert run(root, "status").exit_code == 0
    assert run(root, "split", "--labelled", 1).exit_code == 0
    assert open_dataset(root, tables(root)["data"]).ids("target:all") == dataset.ids("target:all")


def test_scenes_get_their_dusk(tmp_path):
    assert run(tmp_path / "w", "init", "--scenes", 4).exit_code == 0
    assert run(tmp_path / "w", "data", "add", "target", "--scenes", 3).exit_code == 0
    assert tables(tmp_path / "w")["data"]["target"] == {"scenes": {"train": 3, "val": 1, "style": "dusk", "seed": 1}}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["images", "--scenes"], 2, "this word means something else"),
        (["target"], 2, "give either --images DIR or --scenes"),
        (["target", "--scenes", "--val", "0.5"], 2, "Leave out all options but --scenes"),
        (["tar.get", "--scenes"], 2, "expected a name of letters"),
        (["target", "--scenes"], 1, "its classes differ from those of [data]: it lacks cat, dog; only it has"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is_written(root, words, code, message):
    before = (root / "labelseg.toml").read_bytes()
    done = run(root, "data", "add", *words)
    assert (done.exit_code, message in done.output) == (code, True), done.output
    assert (root / "labelseg.toml").read_bytes() == before


def test_other_content_under_the_same_name_is_refused(root, tmp_path):
    words = ["data", "add", "target", "--images", tmp_path / "dusk" / "images"]
    assert run(root, *words).exit_code == 0
    assert run(root, *words).exit_code == 0
    done = run(root, *words, "--val", 0.5)
    assert (done.exit_code, "there is one already" in done.output) == (2, True)


def test_lists_of_another_data_set_are_not_written_among_those_of_the_first(root, tmp_path):
    assert run(root, "data", "add", "target", "--images", tmp_path / "dusk" / "images").exit_code == 0
    done = run(root, "split", "--labelled", 1, "--from", "target:train")
    assert (done.exit_code, "is of the data set 'target'" in done.output) == (2, True)
    assert not (root / "splits").exists()
