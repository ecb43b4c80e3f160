"""log: a line that was changed, moved from another run or lost is told; logs of earlier versions have no seals and are read."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import labelseg

from labelseg.results.history import read_run, run_ids


@pytest.fixture
def logs(finished):
    """The log files of two runs, the newest first."""
    folder = finished / ".labelseg"
    return [folder / "runs" / run / "log.jsonl" for run in run_ids(folder)]


def told(root) -> str:
    return labelseg(root, "log").stderr


def test_logs_that_are_whole_are_read_without_a_word(finished, logs):
    assert (len(logs), told(finished)) == (2, "")
    last = json.loads(logs[0].read_text().splitlines()[-1])
    assert (last["event"], last["lines"]) == ("end", len(logs[0].read_text().splitlines()) - 1)


def test_a_changed_letter_is_told(finished, logs):
    lines = logs[0].read_text().splitlines()
    changed = [line.replace('"event": "done", "instance": "spread"', '"event": "done", "instance": "spreae"') for line in lines]
    assert changed != lines
    logs[0].write_text("\n".join(changed) + "\n")
    assert "1 line is damaged or none of ours" in told(finished)


def test_a_seal_that_was_taken_off_is_told(finished, logs):
    lines = [json.loads(line) for line in logs[0].read_text().splitlines()]
    del lines[1]["seal"]
    logs[0].write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "1 line is damaged or none of ours" in told(finished)


def test_the_log_of_another_run_is_told(finished, logs):
    shutil.copyfile(logs[1], logs[0])
    count = len(logs[1].read_text().splitlines())
    assert f"{count} lines are damaged or none of ours" in told(finished)


@pytest.mark.parametrize(("kept", "message"), [(slice(0, -1), "its end is missing"), (slice(1, None), "1 line is gone")])
def test_a_line_that_is_gone_is_told(finished, logs, kept, message):
    lines = logs[0].read_text().splitlines(keepends=True)
    logs[0].write_text("".join(lines[kept]))
    assert message in told(finished)


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text("")])
def test_failed_images_that_are_gone_from_a_log_are_told(finished, change):
    assert labelseg(finished, "cam", "--fail", "a2").exit_code == 3
    folder = finished / ".labelseg"
    path = folder / "runs" / run_ids(folder)[0] / "failed.jsonl"
    assert (told(finished), len(path.read_text().splitlines())) == ("", 1)
    change(path)
    assert "1 line is gone" in told(finished)
    assert read_run(folder, path.parent.name).missing == 1


def test_an_emptied_log_is_told(finished, logs):
    logs[0].write_text("")
    assert "no line is left" in told(finished)


def test_a_log_that_is_gone_is_told_by_what_came_of_the_run(finished, logs):
    shutil.rmtree(logs[0].parent)
    assert f"No log is left of the run {logs[0].parent.name}, from which spread (train) came." in told(finished)


def test_a_log_without_seals_is_read(finished, logs):
    before = read_run(finished / ".labelseg", logs[0].parent.name)
    lines = [json.loads(line) for line in logs[0].read_text().splitlines()]
    logs[0].write_text("".join(json.dumps({k: v for k, v in line.items() if k != "seal"}) + "\n" for line in lines))
    assert read_run(finished / ".labelseg", logs[0].parent.name) == before
    assert told(finished) == ""
