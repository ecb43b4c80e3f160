"""log: what the runs of a workspace did."""

from __future__ import annotations

import json
import re

import pytest
import toy_chain
from conftest import labelseg

from labelseg import __version__
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.plan.runlog import Marker, Markers
from labelseg.results.history import paces, read_run, run_ids, runs
from labelseg.workspace import Workspace

RUN = "20260102-030405-abcdef"


def write_log(root, *records, run=RUN, failed=()):
    """Write the log of a run as one of an earlier version would have."""
    folder = root / ".labelseg" / "runs" / run
    folder.mkdir(parents=True)
    for name, lines in (("log.jsonl", records), ("failed.jsonl", failed)):
        (folder / name).write_bytes(b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines))


def event(kind, instance, second=5, split="train", **values):
    return {"time": f"2026-01-02T03:04:{second:02}+00:00", "event": kind, "instance": instance, "split": split, **values}


def test_the_log_tells_the_runs_the_newest_first(finished):
    rows = labelseg(finished, "log").stdout.splitlines()
    cells = [re.split(" {2,}", row) for row in rows]
    assert cells[0] == ["RUN", "UTC", "STATE", "TIME", "COMMAND", "WHAT", "FIRST ERROR"]
    assert [row[4:] for row in cells[1:]] == [
        ["labelseg spread (spread, train)", "computed cam, spread"],
        ["labelseg run (segment, val)", "trained train-net; computed segment"],
    ]
    assert {row[2] for row in cells[1:]} == {"done"}


def test_one_run_is_told_with_what_was_asked_for_and_why(finished):
    assert labelseg(finished, "spread", "--rows", "1").exit_code == 0
    facts = json.loads(labelseg(finished, "log", "--run", "last", "--json").stdout)
    assert (facts["purpose"], facts["target"], facts["split"], facts["params"]) == ("labelseg spread", "spread", "train", {"rows": 1})
    assert (facts["version"], facts["tag"], facts["state"], facts["failures"]) == (__version__, "", "done", [])
    (node,) = facts["nodes"]
    assert (node["instance"], node["split"], node["action"], node["computed"], node["total"]) == ("spread", "train", "computed", 3, 3)
    assert node["reasons"] == ["parameter rows: 0 -> 1"]
    told = labelseg(finished, "log", "--run", facts["id"][:18]).stdout
    assert "given    rows = 1" in told
    assert re.search(r"spread \(train\) +computed +3 of 3 +\S+ s +parameter rows: 0 -> 1", told)


def test_a_failed_image_is_told_with_its_error(finished):
    assert labelseg(finished, "cam", "--fail", "a2").exit_code == 3
    facts = json.loads(labelseg(finished, "log", "--run", "last", "--json").stdout)
    assert facts["state"] == "items failed"
    assert facts["failures"] == [{"instance": "cam", "split": "train", "id": "a2", "error": "cam for a2: told to fail."}]
    assert facts["first_error"] == "cam for a2: told to fail."
    assert "cam, a2: cam for a2: told to fail." in labelseg(finished, "log", "--run", "last").stdout
    assert "cam for a2: told to fail." in labelseg(finished, "log").stdout


def test_limit_and_stage_choose_runs(finished):
    labelseg(finished, "spread", "--rows", "1")
    assert len(json.loads(labelseg(finished, "log", "--limit", "2", "--json").stdout)) == 2
    of_cam = json.loads(labelseg(finished, "log", "cam", "--json").stdout)
    assert [[node["instance"] for node in run["nodes"]] for run in of_cam] == [["cam", "spread"]]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--run", "1999"], 1, "--run 1999: there is no such run. See all runs: labelseg log"),
        (["--run", "2"], 2, "2 runs begin so"),
        (["spred"], 1, "no run worked on spred. See all runs: labelseg log"),
        (["--limit", "0"], 2, "0 is not in the range"),
    ],
)
def test_log_refuses(finished, words, code, message):
    result = labelseg(finished, "log", *words)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_workspace_without_runs_says_so(data, tmp_path):
    labelseg(tmp_path / "w", "init", "--from", data)
    result = labelseg(tmp_path / "w", "log")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing was run here yet. Run: labelseg run" in result.stderr


def test_logs_of_earlier_versions_are_read(tmp_path):
    write_log(
        tmp_path,
        event("start", "train-net", 5, "", reasons=["never ran"]),
        {"time": "2026-01-02T03:04:06+00:00", "event": "epoch", "instance": "train-net", "loss": 0.5},
        event("done", "train-net", 7, "", action="trained", reasons=["never ran"], computed=51, total=51, failed=0, seconds=2.25, error=""),
        event("start", "cam", 7, reasons=["never ran"]),
        event("failed", "cam", 9, action="failed", reasons=["never ran"], computed=0, total=0, failed=0, seconds=1.5, error="no image"),
    )
    run = read_run(tmp_path / ".labelseg", RUN)
    assert (run.started, run.ended) == ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:09+00:00")
    assert (run.state, run.seconds, run.purpose, run.unreadable, run.first_error) == ("failed", 3.75, "", 0, "no image")
    assert [(n.instance, n.split, n.action, n.started[17:19], n.seconds) for n in run.nodes] == [
        ("train-net", "", "trained", "05", 2.25),
        ("cam", "train", "failed", "07", 1.5),
    ]


@pytest.mark.parametrize(
    ("marker", "action", "error"),
    [
        (None, "interrupted", ""),
        (Marker("running", run=RUN), "running", ""),
        (Marker("running", run="20260102-030405-other0"), "interrupted", ""),
        (Marker("running", run=RUN, pid=2**22 + 1), "interrupted", ""),
        (Marker("failed", "interrupted", run=RUN), "interrupted", ""),
        (Marker("failed", "ValueError: no", run=RUN), "failed", "ValueError: no"),
    ],
)
def test_work_without_an_end_goes_on_or_was_interrupted(tmp_path, marker, action, error):
    write_log(tmp_path, event("start", "cam", 5), event("epoch", "cam", 25))
    for written in [marker] * (marker is not None):
        Markers(tmp_path / ".labelseg").write(NodeId("cam", "train"), written)
    run = read_run(tmp_path / ".labelseg", RUN)
    assert (run.state, run.nodes[0].action, run.nodes[0].error, run.seconds) == (action, action, error, 20.0)


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [(KeyboardInterrupt(), "interrupted", ""), (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero")],
)
def test_an_interrupted_and_a_broken_stage_are_told_from_the_log_alone(finished, monkeypatch, error, state, told):
    def perform(*arguments, **how):
        raise error

    monkeypatch.setattr("labelseg.pipeline.run.execution.Execution.perform", perform)
    labelseg(finished, "spread", "--force")
    Markers(finished / ".labelseg").clear(NodeId("spread", "train"))
    run = next(runs(finished / ".labelseg"))
    assert (run.state, run.nodes[0].action, run.first_error) == (state, state, told)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\x00 no text",
        b'{"time": "2026-01-02T03:04:06+00:00", "event": "do',
        b"[1, 2]",
        b"5",
        b"[" * 100_000,
        {"event": "start", "instance": "spread"},
        {"time": "yesterday", "event": "start", "instance": "spread"},
        {"time": "2026-01-02T03:04:06", "event": "start", "instance": "spread"},
        {"time": 5, "event": "start", "instance": "spread"},
        event("start", 7),
        event("start", None),
        event("done", "cam", split=["train"]),
        event("done", "cam", seconds="long"),
        event("done", "cam", seconds=-1),
        event("done", "cam", seconds=float("nan")),
        event("done", "cam", computed=True),
        event("done", "cam", reasons="none"),
        event("done", "cam", error={}),
        event("run", "", params=[1]),
    ],
)
def test_a_damaged_or_foreign_line_is_left_out_and_counted(tmp_path, line):
    done = event("done", "cam", 7, action="computed", computed=3, total=3, failed=0, seconds=1.0, error="")
    write_log(tmp_path, event("start", "cam"), line, done)
    run = read_run(tmp_path / ".labelseg", RUN)
    assert (run.unreadable, run.state) == (1, "done")
    assert [(node.instance, node.action, node.computed) for node in run.nodes] == [("cam", "computed", 3)]


def test_the_command_counts_what_it_left_out(finished):
    run = run_ids(finished / ".labelseg")[0]
    with (finished / ".labelseg" / "runs" / run / "log.jsonl").open("ab") as file:
        file.write(b"rubbish\n\n{}\n")
    result = labelseg(finished, "log", "--json")
    assert f"{run}: 2 lines are damaged or none of ours, and left out." in result.stderr
    assert json.loads(result.stdout)[0]["unreadable"] == 2


def test_a_log_without_a_readable_line_and_foreign_folders_do_not_stop_the_others(finished):
    folder = finished / ".labelseg" / "runs"
    write_log(finished, b"rubbish", run="29990101-000000-ffffff")
    (folder / "notes").mkdir()
    (folder / "30000101-000000-ffffff" / "log.jsonl").mkdir(parents=True)
    told = json.loads(labelseg(finished, "log", "--json").stdout)
    assert [run["state"] for run in told] == ["unreadable", "done", "done"]
    assert labelseg(finished, "log").exit_code == 0


def test_text_of_a_log_does_not_steer_the_terminal(tmp_path, finished):
    write_log(finished, event("start", "cam"), event("failed", "cam", action="failed", error="a\x1b[2Jb\nc"), run="29990101-000000-ffffff")
    assert "\x1b" not in labelseg(finished, "log").stdout
    assert labelseg(finished, "log", "--run", "2999").stdout.endswith("cam: a [2Jb c\n")


def test_python_reads_the_same_history(finished):
    workspace = Workspace(finished, stages=toy_chain.STAGES)
    assert [[node.instance for node in run.nodes] for run in runs(workspace.folder)] == [["cam", "spread"], ["train-net", "segment"]]


def test_the_pace_of_an_instance_is_its_own_and_that_of_others_is_of_their_stage(tmp_path):
    for number, instance, seconds in ((2, "cam", 30.0), (3, "cam@wide", 5.0), (4, "cam@narrow", 8.0)):
        done = event("done", instance, number, action="computed", computed=10, total=10, failed=0, seconds=seconds)
        write_log(tmp_path, event("start", instance), done, run=f"2026010{number}-030405-abcdef")
    assert paces(tmp_path / ".labelseg") == {"cam": 3.0, "cam@wide": 0.5, "cam@narrow": 0.8}
    (tmp_path / ".labelseg" / "runs" / "20260102-030405-abcdef" / "log.jsonl").unlink()
    assert paces(tmp_path / ".labelseg")["cam"] == 0.8
