"""run and status: the plan, the outcome, exit codes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import toy_chain
from conftest import labelseg

from labelseg.cli import STAGES
from labelseg.commands.carry_out import next_labels
from labelseg.commands.running import run as run_module
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.report import NodeResult


def test_the_plan_comes_before_the_work_and_stdout_stays_empty(data, tmp_path):
    labelseg(tmp_path / "w", "init", "--from", data)
    result = labelseg(tmp_path / "w", "run")
    assert (result.exit_code, result.stdout) == (0, "")
    plan, first = result.stderr.index("never ran"), result.stderr.index("[1/2] train-net ...")
    assert plan < first
    assert "segment (val): 2 images in" in result.stderr


def test_nothing_to_do_is_told(finished):
    result = labelseg(finished, "run")
    assert (result.exit_code, result.stderr) == (0, "segment (val) is fresh: nothing to do.\n")


def test_a_changed_parameter_is_the_reason(finished):
    labelseg(finished, "config", "cam.flip", "no")
    assert "parameter flip: true -> false" in labelseg(finished, "cam", "--dry-run").stdout


def test_dry_run_writes_the_plan_as_data(finished):
    result = labelseg(finished, "run", "--force", "segment", "--dry-run")
    line = result.stdout.splitlines()[1]
    assert re.fullmatch(r"segment \(val\) +2 of 2 images +\S+ s, [\d.]+ kB in \d+ files +forced", line), line


def test_a_model_is_kept_although_its_images_changed(finished, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("a1\na2\n")
    (lists / "val.txt").write_text("b1\nb2\n")
    assert labelseg(finished, "config", "data.splits", lists).exit_code == 0
    result = labelseg(finished, "cam", "--dry-run")
    assert "1 removed" in result.stdout
    assert "train-net is kept although outdated: trained on" in result.stdout


def test_failed_items_end_with_3_and_are_named(finished):
    result = labelseg(finished, "cam", "--fail", "a2")
    assert result.exit_code == 3
    assert "1 failed" in result.stderr
    assert "cam for a2: told to fail." in result.stderr
    assert "failed" in labelseg(finished, "status").stdout
    assert "cam failed on a2: cam for a2: told to fail." in labelseg(finished, "show", "cam", "a2").stderr


WRITERS = ["run --force segment", "cam", "gc", "config cam.flip false", "split --labelled 1"]
READERS = ["status", "evaluate", "show cam", "show cam a1", "log", "export spread -o out", "verify", "config", "run --dry-run", "doctor"]


@pytest.mark.parametrize("command", WRITERS)
def test_whoever_writes_to_a_locked_workspace_ends_with_5(finished, command):
    with workspace_lock(finished / ".labelseg", "labelseg run"):
        result = labelseg(finished, *command.split(), "--no-wait")
    assert result.exit_code == 5, result.output
    assert f"is in use by process {os.getpid()} on " in result.stderr
    assert "(labelseg run) since " in result.stderr


@pytest.mark.parametrize("command", READERS)
def test_whoever_only_reads_a_locked_workspace_is_not_kept_from_it(finished, command, monkeypatch):
    monkeypatch.chdir(finished.parent)
    with workspace_lock(finished / ".labelseg", "labelseg run"):
        result = labelseg(finished, *command.split())
    assert result.exit_code == 0, result.output


def test_an_unknown_stage_is_suggested(finished):
    result = labelseg(finished, "run", "--until", "tran-net")
    assert result.exit_code == 2
    assert "Did you mean 'train-net'?" in result.stderr


def test_options_of_run(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(run_module, "carry_out", lambda place, *arguments, **how: found.append(arguments))
    words = "run --until cam --from train-net --force cam --force spread --retrain --keep-going --device cpu --workers 0"
    assert labelseg(tmp_path, *words.split()).exit_code == 0
    options = RunOptions(
        until="cam", from_="train-net", force=frozenset({"cam", "spread"}), retrain=True, keep_going=True, device="cpu", workers=0
    )
    assert found == [(None, None, {}, options)]


def test_status_is_a_table(finished):
    lines = labelseg(finished, "status").stdout.splitlines()
    assert lines[0].split() == ["STAGE", "SPLIT", "STATE", "ITEMS", "FAILED", "SECONDS", "WHY"]
    assert all("fresh" in line for line in lines[1:])


def test_status_as_json(finished):
    rows = {row["instance"]: row for row in json.loads(labelseg(finished, "status", "--json").stdout)}
    assert rows["cam"]["state"] == "fresh"
    assert (rows["cam"]["split"], rows["cam"]["items"], rows["cam"]["failed"]) == ("train", 3, 0)


def test_reasons_as_json_are_text_and_data(finished):
    labelseg(finished, "config", "cam.flip", "no")
    rows = {row["instance"]: row for row in json.loads(labelseg(finished, "status", "--json").stdout)}
    assert rows["spread"]["reasons"] == ["cam changed: parameter flip: true -> false"]
    assert rows["spread"]["why"] == [{"kind": "parameter", "subject": "flip", "before": True, "after": False, "of": "cam"}]


@pytest.mark.parametrize(("change", "code"), [("psa", 0), ("irn", 4)])
def test_exit_code_of_status(finished, change, code):
    labelseg(finished, "config", "cam.rule", change)
    result = labelseg(finished, "status", "--exit-code")
    assert result.exit_code == code
    assert result.stdout


@pytest.fixture
def root(data, tmp_path):
    """A workspace on the images, in which nothing ran."""
    assert labelseg(tmp_path / "w", "init", "--from", data).exit_code == 0
    return tmp_path / "w"


def test_a_wrong_line_of_the_label_table_is_told_and_not_taken_for_missing_tags(root, data):
    assert labelseg(root, "run").exit_code == 0
    with (data / "labels.csv").open("a") as file:
        file.write("a1,zebra\n")
    status = labelseg(root, "status")
    assert status.exit_code == 0
    assert "labels.csv line 7: 'zebra' is no class" in status.stdout
    result = labelseg(root, "run")
    assert result.exit_code == 1
    assert "labels.csv line 7: 'zebra' is no class" in result.stderr


def test_the_end_of_a_run_says_how_many_warnings_stood_above(root, data):
    assert "above the plan" not in labelseg(root, "cam").stderr
    with (data / "labels.csv").open("a") as file:
        file.write("gone,cat\n")
    told = labelseg(root, "run").stderr
    assert [line.startswith("warning: ") for line in told.splitlines()].count(True) == 1
    assert told.endswith("1 warning above the plan still holds. To see it again: labelseg doctor\n")
    assert "no image 'gone'" in labelseg(root, "doctor").output


def test_a_row_of_an_image_that_was_removed_is_told_and_costs_nothing(root, data):
    for name, line in (("labels.csv", "gone,cat\n"), ("train.txt", "gone\n")):
        with (data / name).open("a") as file:
            file.write(line)
    dry = labelseg(root, "run", "--dry-run")
    assert f"{data / 'labels.csv'} line 7: no image 'gone'" in dry.stderr
    assert f"{data / 'train.txt'}: 1 line of no image: 'gone' (line 4): left out of the split" in dry.stderr
    result = labelseg(root, "run")
    assert result.exit_code == 0
    assert "no image 'gone'" in result.stderr


def test_an_image_whose_file_is_gone_behind_a_link_costs_itself_only(root, data):
    (data / "images" / "a4.png").symlink_to(data / "nowhere.png")
    for name, line in (("train.txt", "a4\n"), ("labels.csv", "a4,cat\n")):
        with (data / name).open("a") as file:
            file.write(line)
    result = labelseg(root, "spread")
    assert result.exit_code == 3
    assert "a4.png" in result.stderr
    rows = {row["instance"]: row for row in json.loads(labelseg(root, "status", "--json").stdout)}
    assert (rows["cam"]["items"], rows["cam"]["failed"]) == (3, 1)


def test_the_score_told_after_a_training_is_its_own_and_not_that_of_a_trial(root):
    assert "mAP 9.0" in labelseg(root, "train-net", "--epochs", "9", "--no-save").stderr
    assert "mAP 7.0" in labelseg(root, "train-net", "--epochs", "7").stderr


def test_the_score_told_after_a_training_is_that_of_the_weights_that_were_kept(root, monkeypatch):
    monkeypatch.setattr("labelseg.commands.carry_out.kept_metrics", lambda manifest: {"mAP": manifest.params["epochs"] / 40, "loss": 1})
    assert "mAP 12.5\n" in labelseg(root, "train-net", "--epochs", "5").stderr


@pytest.mark.parametrize("words", ["train-net --as other --epochs 9", "spread --as other --rows 4", "cam --as other"])
def test_an_instance_that_is_tried_has_no_table_and_can_be_looked_at_all_the_same(root, words):
    result = labelseg(root, *words.split(), "--no-save")
    assert (result.exit_code, "Error" in result.stderr) == (0, False), result.stderr
    instance = words.split()[0] + "@other"
    assert f"{instance}" not in (root / "labelseg.toml").read_text()
    for look in (f"show {instance} --tag unsaved", "status", "log", "verify"):
        shown = labelseg(root, *look.split())
        assert shown.exit_code == 0, (look, shown.stderr)


def test_a_run_ends_with_what_it_made_and_commands_that_lead_on(root, data, tmp_path):
    told = labelseg(root, "run").stderr
    rows = [line.split()[0] for line in told.splitlines() if line.endswith(("a model", "images", "image")) and "..." not in line]
    assert rows[-2:] == ["train-net", "segment"]
    assert "Total: " in told
    commands = re.findall(r"labelseg ((?:export|evaluate|predict|show)[^,;\n]*)", told)
    assert [command.split()[0] for command in commands] == ["export", "evaluate", "predict"]
    for number, command in enumerate(commands):
        words = [{"DIR": tmp_path / str(number), "FOLDER": data / "images"}.get(word, word) for word in command.split()]
        assert labelseg(root, *words).exit_code == 0, command


def test_a_run_without_true_masks_leads_to_a_picture(root, tmp_path):
    labelseg(root, "config", "data.masks", "--unset")
    told = labelseg(root, "run").stderr
    (command,) = re.findall(r"Next: labelseg (show [^;\n]*)", told)
    assert labelseg(root, *command.replace("sheet.png", str(tmp_path / "sheet.png")).split()).exit_code == 0
    assert (tmp_path / "sheet.png").exists()


def test_how_long_work_will_take_is_told_from_earlier_runs(root, data):
    assert "ABOUT" not in labelseg(root, "run", "--dry-run").stdout
    labelseg(root, "run")
    labelseg(root, "config", "train-net.epochs", "5")
    header, *rows = labelseg(root, "run", "--dry-run").stdout.splitlines()
    assert header.split() == ["TO", "DO", "WORK", "ABOUT", "WHY"]
    assert re.search(r" s +parameter epochs", rows[0])
    assert re.search(r" s, [\d.]+ k?B in \d+ files? ", rows[1])


OWN = "Masks of the images that it learned from, with the help of their tags: labelseg segment --as own --split "


@pytest.mark.parametrize(
    ("tables", "lines"),
    [
        ({"segment": {"own": {"tags": "given"}}}, [OWN + "train"]),
        ({"segment": {"own": {"tags": "given"}}, "train-segmenter": {"split": "some"}}, [OWN + "some"]),
        ({"segment": {"own": {"tags": "given", "model": "train-segmenter@gone"}}}, []),
        ({"segment": {"own": {"scales": [1.0]}}}, []),
        ({"segment": {"tags": "given"}}, []),
        ({}, []),
    ],
)
def test_an_instance_that_is_told_the_tags_is_the_next_one_for_the_training_images(tables, lines):
    config = Config.from_tables(Path("labelseg.toml"), tables, STAGES, {})
    for instance, expected in (("segment", lines), ("propagate", [])):
        assert next_labels(config, NodeResult(instance=instance, split="val", action="computed")) == expected


@pytest.mark.parametrize(("number", "words"), [(0, ["run"]), (3, ["run", "--workers", "0"])])
def test_interrupted_work_goes_on_and_what_is_interrupted_after_it_begins_anew(data, tmp_path, monkeypatch, number, words):
    def interrupted(*given):
        raise KeyboardInterrupt

    stages = [*toy_chain.STAGES]
    stages[number] = replace(stages[number], run=interrupted)
    labelseg(tmp_path / "w", "init", "--from", data)
    done = labelseg(tmp_path / "w", *words, stages=tuple(stages))
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        130,
        "Interrupted. What is finished stays; the same command goes on from there.",
    )
    monkeypatch.setattr("labelseg.workspace.Workspace.status", interrupted)
    done = labelseg(tmp_path / "w", "status")
    assert (done.exit_code, done.stderr) == (130, "Interrupted. The same command begins anew.\n")
