"""``work`` and ``finish``: what schedulers set and read, what other commands say of shares, and the scripts."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from labelseg.pipeline.shares.scripts import ScriptJob, kubernetes_manifest, slurm_script
from tests.cli.conftest import labelseg

# In place of Slurm: runs the task of each index at once, and notes how each command was called.
SBATCH = r"""#!/bin/bash
script=$(cat)
echo "sbatch $*" >> "$NOTES"
last=$(sed -n 's/^#SBATCH --array=0-//p' <<< "$script")
if [ -z "$last" ]; then bash -c "$script"; exit; fi
for k in $(seq 0 "$last"); do
  SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$k SLURM_CPUS_PER_TASK=3 bash -c "$script" >&2 || echo "task $k ended with $?" >> "$NOTES"
done
echo "7;cluster"
"""
LABELSEG = r"""#!/bin/bash
echo "labelseg $*" >> "$NOTES"
case "$*" in
  *"--shard 1 "*) sleep 0.5; kill -USR1 "$PPID"; trap 'exit 143' TERM; for k in $(seq 100); do sleep 0.1; done;;
  *"--shard 2 "*) exit 3;;
esac
"""
SCONTROL = '#!/bin/bash\necho "scontrol $*" >> "$NOTES"\n'
JOB = ScriptJob(Path("/data/my photos"), "cam@wide", "train", 3, "1.2")


@pytest.fixture
def unmapped(finished) -> Path:
    """A workspace whose maps are to be computed anew in another way."""
    assert labelseg(finished, "config", "cam.flip", "false").exit_code == 0
    return finished


def test_a_scheduler_says_which_share_and_other_commands_say_what_is_left(unmapped, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    result = labelseg(unmapped, "work", "cam", "--workers", 0)
    assert (result.exit_code, "Share 1 of cam (train) is done: 1 image of 1 computed" in result.stderr) == (0, True), result.stderr
    left = "cam (train): 1 of 2 shares are done"
    assert left in labelseg(unmapped, "status").stderr
    verified = labelseg(unmapped, "verify")
    assert (verified.exit_code, left in verified.stderr) == (0, True)
    assert "Nothing of cam goes, because shares of it are not finished" in labelseg(unmapped, "gc").stderr
    unfinished = labelseg(unmapped, "finish", "cam")
    assert (unfinished.exit_code, "labelseg work cam --split train --shard 0 --shards 2" in unfinished.stderr) == (4, True)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert labelseg(unmapped, "work", "cam", "--shards", 2, "--workers", 0).exit_code == 0
    result = labelseg(unmapped, "finish", "cam")
    assert (result.exit_code, "cam (train) is published: 3 images" in result.stderr) == (0, True), result.stderr
    assert "shares" not in labelseg(unmapped, "status").stderr


def test_a_share_with_failed_images_ends_with_3_and_finish_does(unmapped):
    assert labelseg(unmapped, "config", "cam.fail", "a1").exit_code == 0
    ended = [labelseg(unmapped, "work", "cam", "--shard", k, "--shards", 2, "--workers", 0).exit_code for k in range(2)]
    assert sorted(ended) == [0, 3]
    result = labelseg(unmapped, "finish", "cam")
    assert (result.exit_code, "1 item failed" in result.stderr) == (3, True), result.stderr


@pytest.mark.parametrize(
    ("words", "environ", "told"),
    [
        ((), {}, "--shards is missing, and the environment has no SLURM_ARRAY_TASK_COUNT"),
        (("--shards", 2), {}, "--shard is missing, and the environment has no SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX"),
        (("--shards", 2), {"SLURM_ARRAY_TASK_ID": "-1"}, "SLURM_ARRAY_TASK_ID=-1: expected a whole number"),
        (("--shards", 2, "--shard", 2), {}, "--shard 2: expected 0 to 1"),
    ],
)
def test_which_share_is_meant_must_be_said(unmapped, monkeypatch, words, environ, told):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    result = labelseg(unmapped, "work", "cam", *words)
    assert (result.exit_code, told in result.stderr) == (2, True), result.stderr


def test_a_damaged_record_of_a_share_is_told_and_removed_by_a_repair(unmapped):
    assert labelseg(unmapped, "work", "cam", "--shard", 0, "--shards", 2, "--workers", 0).exit_code == 0
    (record,) = (unmapped / ".labelseg" / "shares").glob("cam/*/0.json")
    record.write_bytes(record.read_bytes().replace(b"0", b"1", 1))
    result = labelseg(unmapped, "verify")
    assert (result.exit_code, "0.json is damaged" in result.stdout) == (1, True)
    assert labelseg(unmapped, "verify", "--repair").exit_code == 0
    assert not record.exists()


def test_gc_removes_shares_when_asked_and_forget_gives_them_up(unmapped):
    assert labelseg(unmapped, "work", "cam", "--shard", 0, "--shards", 2, "--workers", 0).exit_code == 0
    result = labelseg(unmapped, "finish", "cam", "--forget")
    assert "1 job of shares of cam (train) forgotten" in result.stderr
    assert labelseg(unmapped, "work", "cam", "--shard", 0, "--shards", 2, "--workers", 0).exit_code == 0
    assert labelseg(unmapped, "gc", "--shares").exit_code == 0
    assert not list((unmapped / ".labelseg").glob("shares/*/*"))


def test_a_script_is_printed_and_nothing_is_begun(unmapped):
    result = labelseg(unmapped, "work", "cam", "--print", "slurm", "--shards", 5)
    assert (result.exit_code, "--array=0-4" in result.stdout) == (0, True)
    assert not (unmapped / ".labelseg" / "shares").exists()


def test_the_script_for_slurm_submits_every_share_and_then_the_finish(tmp_path):
    for name, text in (("sbatch", SBATCH), ("labelseg", LABELSEG), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "job.sh"
    script.write_text(slurm_script(JOB))
    subprocess.run(["bash", "-n", script], check=True)
    notes = tmp_path / "notes"
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "NOTES": str(notes)}
    subprocess.run(["bash", script], check=True, env=env, timeout=60, capture_output=True)
    place = "labelseg -C /data/my photos"
    assert notes.read_text().splitlines() == [
        "sbatch --parsable",
        *(f"{place} work cam@wide --split train --shards 3 --shard {k} --workers 3" for k in (0, 1)),
        "scontrol requeue 7_1",
        "task 1 ended with 143",
        f"{place} work cam@wide --split train --shards 3 --shard 2 --workers 3",
        "task 2 ended with 3",
        "sbatch --dependency=afterany:7",
        f"{place} finish cam@wide --split train",
    ]


def test_the_manifest_for_kubernetes_has_a_pod_a_share_and_knows_the_exit_codes():
    shares, finish = yaml.safe_load_all(kubernetes_manifest(JOB))
    assert (shares["kind"], shares["spec"]["completionMode"], shares["spec"]["completions"]) == ("Job", "Indexed", 3)
    rules = {rule["action"]: rule.get("onExitCodes", {}).get("values") for rule in shares["spec"]["podFailurePolicy"]["rules"]}
    assert rules == {"Ignore": [143], "FailIndex": [2, 3]}
    assert "podReplacementPolicy" not in shares["spec"]
    container = shares["spec"]["template"]["spec"]["containers"][0]
    command = ["labelseg", "-C", "/data/my photos", "work", "cam@wide", "--split", "train", "--shards", "3", "--workers", "4"]
    assert (container["command"], container["resources"]["requests"]["cpu"]) == (command, "4")  # not a process for each core of the node
    assert container["volumeMounts"][0]["mountPath"] == "/data/my photos"
    assert finish["spec"]["template"]["spec"]["containers"][0]["command"][3:5] == ["finish", "cam@wide"]
    assert shares["metadata"]["name"] == "labelseg-cam-wide-train"


def test_pods_behind_an_object_store_need_no_volume():
    for job in yaml.safe_load_all(kubernetes_manifest(replace(JOB, store="s3://bucket/w"))):
        pod = job["spec"]["template"]["spec"]
        assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "YOUR-SECRET"}}]
        assert "volumes" not in pod and "volumeMounts" not in pod["containers"][0]
