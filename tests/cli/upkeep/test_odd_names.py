"""Names that a shell takes apart: the commands that messages name are run as they are written, and lead on."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import TRAIN, labelseg

SPLIT = "my photos"
COMMAND = re.compile(r"labelseg ([a-z]+(?: (?:'[^'\n]*'|[^\s';,.]+))+)")


@pytest.fixture
def root(data, tmp_path):
    """A workspace whose data has a split of two words, and an instance that is called so; nothing ran."""
    (data / "train.txt").rename(data / f"{SPLIT}.txt")
    (data / "train.txt").write_text("\n".join([*TRAIN, ""]))
    root = tmp_path / "w"
    assert labelseg(root, "init", "--from", data).exit_code == 0
    assert labelseg(root, "spread", "--as", "two words", "--rows", 8, "--dry-run").exit_code == 0
    assert labelseg(root, "config", "spread.two words.rows", 8).exit_code == 0
    return root


def advice(done, verb):
    """The words of the command that a message names."""
    return next(shlex.split(found) for found in COMMAND.findall(done.output) if found.startswith(f"{verb} "))


def test_what_a_run_names_next_runs(root):
    done = labelseg(root, "spread", "--as", "two words", "--split", SPLIT)
    assert advice(done, "export") == ["export", "spread@two words", "--split", SPLIT, "-o", "DIR"]
    assert labelseg(root, *advice(done, "export")[:-1], root / "out").exit_code == 0
    assert sorted(path.stem for path in (root / "out").rglob("a*.png")) == sorted(TRAIN)


def test_what_evaluate_names_for_masks_of_nothing_runs(root):
    labelseg(root, "spread", "--as", "two words", "--split", SPLIT)
    told = labelseg(root, "evaluate", "--split", SPLIT)
    assert advice(told, "show") == ["show", "spread@two words", "--split", SPLIT]
    assert labelseg(root, *advice(told, "show")).exit_code == 0


def test_shares_lead_to_their_end(root):
    labelseg(root, "cam", "--split", SPLIT)
    begun = labelseg(root, "finish", "spread", "--split", SPLIT)
    assert advice(begun, "work") == ["work", "spread", "--split", SPLIT, "--shard", "0", "--shards", "8"]
    for share in range(8):
        done = labelseg(root, *advice(begun, "work")[:5], share, *advice(begun, "work")[6:])
        assert done.exit_code == 0, done.output
    assert advice(done, "finish") == ["finish", "spread", "--split", SPLIT]
    assert advice(labelseg(root, "status"), "finish") == advice(done, "finish")
    assert "--split 'my photos' --forget" in labelseg(root, "status").output
    assert labelseg(root, *advice(done, "finish")).exit_code == 0


def test_a_data_set_of_two_words_is_added_as_told(root, data):
    told = labelseg(root, "cam", "--split", "my set:train")
    assert advice(told, "data") == ["data", "add", "my set", "--images", "DIR"]


def test_the_best_of_a_sweep_is_used_as_told(root):
    told = labelseg(root, "sweep", "spread@two words", "--rows", "0,8", "--split", SPLIT)
    assert advice(told, "spread") == ["spread", "--as", "two words", "--split", SPLIT, "--rows", "0"]
    assert labelseg(root, *advice(told, "spread")).exit_code == 0
