"""The campaign of faults in its short form, and that it sees what it is there to see."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults.ground.injection import Operations, die, no_space
from benchmarks.faults.ground.places import HERE, Places
from benchmarks.faults.ground.processes import Child, call
from benchmarks.faults.ground.toys import STAGES
from benchmarks.faults.kinds.corruptions import compared
from benchmarks.faults.kinds.hostile import snapshot
from benchmarks.faults.outcomes import BAD, Trial, table

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> list[Trial]:
    """The trials of the short form, made by a process that nothing else has used."""
    file = tmp_path_factory.mktemp("faults") / "trials.json"
    command = [sys.executable, "-m", "benchmarks.faults", "--short", "--json", str(file)]
    subprocess.run(command, check=True, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True)
    return [Trial(**row) for row in json.loads(file.read_text())]


@pytest.mark.parametrize("kind", ["kills", "races", "full disks", "corruptions", "hostile folders"])
def test_nothing_is_lost_and_nothing_is_silent(trials, kind):
    tried = [trial for trial in trials if trial.kind == kind]
    assert tried
    assert [trial for trial in tried if trial.outcome in BAD] == []


def test_a_process_dies_at_the_operation_that_was_named(tmp_path):
    def work() -> None:
        Operations(tmp_path, 3, die)
        for number in range(5):
            (tmp_path / str(number)).write_text("")

    assert Child(work).wait().killed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_a_disk_is_full_from_the_operation_that_was_named(tmp_path):
    def work() -> list[str]:
        Operations(tmp_path, 2, no_space, repeat=True)
        errors = []
        for number in range(3):
            try:
                (tmp_path / str(number)).write_text("")
            except OSError as error:
                errors.append(f"{number} {error.errno}")
        return errors

    assert Child(work).wait().value == ["1 28", "2 28"]


def test_a_process_that_hangs_is_ended():
    ended = Child(lambda: os.read(os.pipe()[0], 1)).wait(hangs_after=0.2)
    assert ended.hung
    assert ended.killed


def test_a_process_that_others_keep_from_the_processor_is_waited_for(monkeypatch):
    waited = iter((0.2, 0.4, 0.6, 0.8))
    monkeypatch.setattr(Child, "_waited", lambda child: next(waited))
    ended = Child(lambda: time.sleep(0.5) or "done").wait(hangs_after=0.2)
    assert (ended.value, ended.hung) == ("done", False)


def test_other_content_without_a_word_is_silent():
    before = {"cam|train|": {"a1": "digest"}, "status": [[{"instance": "cam", "split": "train", "state": "fresh", "reasons": []}], ""]}
    other = {**before, "cam|train|": {"a1": "another"}}
    assert compared(before, before) == ([], [], [])
    assert [line.partition(":")[0] for line in compared(before, other)[1]] == ["cam|train|"]


def test_an_error_and_a_reason_are_words():
    before = {"cam|train|": {"a1": "digest"}, "status": [[{"instance": "cam", "split": "train", "state": "fresh", "reasons": []}], ""]}
    told = {"cam|train|": {"error": "damaged"}, "status": [[{"instance": "cam", "split": "train", "state": "stale", "reasons": ["x"]}], ""]}
    noticed, wrong, crashed = compared(before, told)
    assert len(noticed) == 2
    assert not wrong + crashed


def test_what_lies_around_a_workspace_is_seen_by_content_and_time(tmp_path):
    root = tmp_path / "workspace"
    root.mkdir()
    victim = tmp_path / "victim.txt"
    victim.write_text("a")
    before = snapshot(tmp_path, root)
    (root / "inside").write_text("b")
    assert snapshot(tmp_path, root) == before
    victim.write_text("b")
    assert snapshot(tmp_path, root) != before


def test_the_table_counts_every_trial_once():
    rng = random.Random(0)
    outcomes = [rng.choice(("recovered", "lost", "silent")) for _ in range(30)]
    (row,) = table(Trial("kills", number, "", outcome) for number, outcome in enumerate(outcomes))
    assert row["tried"] == 30
    assert [row[name] for name in ("recovered", "lost", "silent")] == [outcomes.count(n) for n in ("recovered", "lost", "silent")]


def test_an_error_that_nobody_foresaw_counts_although_the_command_line_catches_it(tmp_path):
    def fall(inputs, params):
        raise KeyError("two")

    (net, *others) = STAGES
    shutil.copytree(Places(tmp_path).state("new"), tmp_path / "w")
    done = call(tmp_path / "w", ("train-net", *HERE), (replace(net, run=fall), *others))
    assert (done.code, "KeyError: 'two'. This was not foreseen" in done.crash) == (1, True)
