"""The scripts of docs/cluster.md with stand-ins for Slurm: weights of one process; and a kill."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import labelseg

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")]

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
SETTINGS = """
[data]
scenes = {train = 8, val = 4}

[train-classifier]
backbone = "tiny"
weights = "none"
validation = "val"
epochs = 6
batch_size = 4
long_side = [96, 128]
crop = 96
"""
SRUN = """#!/bin/sh
for node in 0 1; do
    SLURM_PROCID=$node SLURM_LOCALID=$node SLURM_NODEID=$node "$@" & pids="$pids $!"
done
code=0
for pid in $pids; do wait "$pid" || code=$?; done
exit $code
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """An environment with a cluster of two nodes, both of which are this machine."""
    folder = tmp_path_factory.mktemp("slurm")
    for name, text in {"srun": SRUN, "scontrol": "#!/bin/sh\necho 127.0.0.1\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    programs = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    root = str(Path(labelseg.__file__).parents[1])
    numbers = {"SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "here", "OMP_NUM_THREADS": "1"}
    paths = {"PATH": os.pathsep.join(programs), "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return {**os.environ, **numbers, **paths, "GLOO_SOCKET_IFNAME": "lo"}


def workspace(folder):
    folder.mkdir()
    (folder / "labelseg.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory, slurm):
    """A training in one process."""
    root = workspace(tmp_path_factory.mktemp("alone") / "w")
    subprocess.run([sys.executable, "-m", "labelseg", "train-classifier", "--device", "cpu"], cwd=root, env=slurm, check=True)
    return labelseg.Workspace(root).model("train-classifier")


def script(number):
    """The script of the page that calls srun for the n-th time, for two processes without a GPU."""
    text = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) if "srun" in block][number]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for found, meant in {"29500": port, "--workers 6": "--workers 0 --device cpu", "--nproc-per-node 4": "--nproc-per-node 1"}.items():
        text = text.replace(found, meant)
    return text


@pytest.mark.parametrize(("number", "tasks"), [(0, "1"), (1, "2")])
def test_the_scripts_train_what_one_process_trains(tmp_path, slurm, alone, number, tasks):
    root = workspace(tmp_path / "w")
    environ = {**slurm, "SLURM_NTASKS_PER_NODE": tasks}
    done = subprocess.run(["sh", "-c", script(number)], cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[1/1] train-classifier") == 1
    assert_equal(root, alone, 1e-6)


def assert_equal(root, alone, most):
    """Weights, losses and scores are those of another training."""
    model = labelseg.Workspace(root).model("train-classifier")
    for name, tensor in alone.tensors.items():
        np.testing.assert_allclose(model.tensors[name], tensor, atol=most, rtol=0)
    for one, other in zip(alone.curves, model.curves, strict=True):
        assert other == pytest.approx(one, abs=most)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, slurm, number):
    command = ["torchrun", "--nproc-per-node", "2", "-m", "labelseg", "train-classifier", "--device", "cpu"]
    whole, root = workspace(tmp_path / "whole"), workspace(tmp_path / "w")
    slurm = {**slurm, "LABELSEG_TRAIN_CLASSIFIER__DROPOUT": "0.5"}  # each rank draws its own
    subprocess.run(command, cwd=whole, env=slurm, check=True)
    killed = subprocess.Popen(command, cwd=root, env=slurm, start_new_session=True)
    until = time.monotonic() + 300
    while not list(root.glob(".labelseg/checkpoints/*/*/last.safetensors")):
        assert time.monotonic() < until
        time.sleep(0.02)
    for pid in [killed.pid, *others(killed.pid)][:: 1 if number == signal.SIGKILL else 100]:  # the first alone is asked to end
        os.kill(pid, number)
    assert killed.wait(120) != 0
    again = subprocess.run(command, cwd=root, env=slurm, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    records = [path.read_text() for path in sorted(root.glob(".labelseg/runs/*/log.jsonl"))]
    assert records[0].count('"event": "epoch"') + records[1].count('"event": "epoch"') >= 6 > records[1].count('"event": "epoch"')
    assert_equal(root, labelseg.Workspace(whole).model("train-classifier"), 0)


def others(pid):
    """Processes that one started, and those they did."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [process for child in map(int, found) for process in (child, *others(child))]
