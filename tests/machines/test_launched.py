"""The command line among processes that a launcher started: the first one does what is asked for, the others end as it does."""

from __future__ import annotations

import sys

import pytest

from labelseg import cli
from labelseg.errors import UsageError
from labelseg.pipeline.engines.launched import Place, launched
from labelseg.pipeline.files.locks import workspace_lock
from tests.training.launcher import launch

SET = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}


def test_the_place_is_read_from_what_a_launcher_sets():
    assert launched(SET) == Place(3, 4, 1, 2)
    assert launched(SET).variables.items() <= SET.items()
    assert launched({}) is None
    assert launched({"RANK": "0", "WORLD_SIZE": "2"}) is None  # as some clusters set them in every container
    assert launched({**SET, "RANK": "0", "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize("name", ["LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_what_is_missing_is_named(name):
    with pytest.raises(UsageError, match=f"^{name} is not set, but RANK"):
        launched({other: value for other, value in SET.items() if other != name})


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "4"},
        {"RANK": "0"},  # below its local rank
        {"LOCAL_RANK": "2"},
        {"LOCAL_RANK": "-1"},
        {"LOCAL_WORLD_SIZE": "3"},
        {"LOCAL_WORLD_SIZE": "8"},
        {"WORLD_SIZE": "four"},
    ],
)
def test_places_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError, match="=".join(*wrong.items())):
        launched({**SET, **wrong})


def run(*words):
    """Codes that two processes end with, and how often each told something."""

    def work(rank):
        sys.argv = ["labelseg", *map(str, words)]
        cli.main()

    return launch(2, work)


def test_all_end_with_one_code_and_one_of_them_tells_why(tmp_path, capfd):
    (tmp_path / "labelseg.toml").write_text("[data]\nscenes = {train = 1}\n")
    assert run("-C", tmp_path, "status") == [0, 0]
    assert run("-C", tmp_path, "cam", "--nonsense") == [2, 2]
    assert capfd.readouterr().err.count("No such option") == 1


def test_the_first_alone_asks_for_the_lock(tmp_path, capfd):
    (tmp_path / "labelseg.toml").write_text("[data]\nscenes = {train = 1}\n")
    with workspace_lock(tmp_path / ".labelseg", "another"):
        assert run("-C", tmp_path, "train-classifier", "--no-wait") == [5, 5]
    assert capfd.readouterr().err.count("is in use by") == 1


def test_a_place_that_cannot_be_is_told(monkeypatch, capsys):
    for name, value in {**SET, "RANK": "9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("Error: RANK=9, WORLD_SIZE=4")
