"""tag: killed at any moment it keeps all or nothing, and what it left is told and cleared."""

from __future__ import annotations

import json
import os

import pytest
from conftest import labelseg

from benchmarks.faults.ground.injection import Operations, die, no_space
from labelseg.pipeline.files.unfinished import Unfinished

KEPT = ["cam", "segment", "spread", "train-net"]


def disturbed(root, disturb, *words, at=0):
    """Call a command in a fork, in which file operations go wrong: the one of a number, or all that ``disturb`` picks by name."""
    child = os.fork()
    if child == 0:
        Operations(root / ".labelseg", at or 1, disturb, repeat=not at)
        os._exit(labelseg(root, *words).exit_code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_name(disturb, *parts):
    """Disturb the operations whose name has all of some parts."""
    return lambda name: disturb(name) if all(part in name for part in parts) else None


def kept(root, tag="v1"):
    return sorted(row["instance"] for row in json.loads(labelseg(root, "tag", "--json").stdout) if row["tag"] == tag)


def left(root):
    """Names of the refs of tags on disk, whether or not they count, and the notes."""
    return sorted((root / ".labelseg").glob("refs/*/*@*.json")), Unfinished(root / ".labelseg").names()


def test_killed_anywhere_it_keeps_all_or_nothing_and_gc_clears_the_rest(finished):
    before, seen = left(finished), set()
    at = 1
    while disturbed(finished, die, "tag", "v1", at=at) != 0:
        found = kept(finished)
        assert found in ([], KEPT)
        assert labelseg(finished, "evaluate", "--tag", "v1").exit_code == (0 if found else 1)
        refs, notes = left(finished)
        seen.add((bool(refs), bool(found)))
        if notes:
            assert "Keep it again: labelseg tag v1, or clear it: labelseg gc" in labelseg(finished, "tag", "--list").stderr
            assert labelseg(finished, "verify").exit_code == 1
            assert "1 unfinished tag" in labelseg(finished, "gc", "--dry-run").stderr
            assert labelseg(finished, "gc").exit_code == 0
            assert left(finished) == before
        elif found:
            assert labelseg(finished, "tag", "--delete", "v1").exit_code == 0
        assert left(finished) == before
        at += 11
    assert {(True, False), (False, False)} <= seen
    assert kept(finished) == KEPT


@pytest.mark.parametrize("words", [["verify", "--repair"], ["tag", "v1"], ["tag", "--delete", "v1"]])
def test_what_was_interrupted_is_cleared_or_made_again(finished, words):
    assert labelseg(finished, "tag", "v1", "cam").exit_code == 0
    assert disturbed(finished, at_name(die, "os.rename", "refs/spread"), "tag", "v1") == -9
    assert len(left(finished)[0]) == 2
    assert kept(finished) == ["cam"]
    assert labelseg(finished, *words).exit_code == 0
    assert left(finished)[1] == []
    assert kept(finished) == (KEPT if words == ["tag", "v1"] else [] if "--delete" in words else ["cam"])
    assert labelseg(finished, "verify").exit_code == 0


def test_a_deletion_that_is_interrupted_leaves_nothing_that_counts(finished):
    labelseg(finished, "tag", "v1")
    assert disturbed(finished, at_name(die, "os.remove", "refs/spread"), "tag", "--delete", "v1") == -9
    assert len(left(finished)[0]) == 2
    assert kept(finished) == []
    assert labelseg(finished, "gc").exit_code == 0
    assert left(finished) == ([], [])


def test_a_full_disk_leaves_no_half_of_a_tag_and_hinders_no_deletion(finished):
    assert disturbed(finished, at_name(no_space, "refs/spread"), "tag", "v1") == 1
    assert left(finished) == ([], [])
    labelseg(finished, "tag", "v1")
    assert disturbed(finished, at_name(no_space, "unfinished"), "tag", "--delete", "v1") == 0
    assert left(finished) == ([], [])


@pytest.mark.parametrize("text", ["", "{}", '{"files": ["../../victim"], "seal": "0"}'])
def test_a_note_that_cannot_be_read_takes_nothing_away(finished, tmp_path, text):
    labelseg(finished, "tag", "v1")
    (tmp_path / "victim").write_text("mine")
    note = Unfinished(finished / ".labelseg").path("v1")
    note.write_text(text)
    refs = left(finished)[0]
    shown = labelseg(finished, "evaluate", "--tag", "v1")
    assert shown.exit_code == 1
    assert f"{note} is damaged" in shown.stderr
    assert "No artifact goes" in labelseg(finished, "gc").stderr
    assert labelseg(finished, "tag", "v1").exit_code == 1
    assert labelseg(finished, "verify", "--repair").exit_code == 0
    assert (left(finished), kept(finished)) == ((refs, []), KEPT)
    assert (tmp_path / "victim").read_text() == "mine"
