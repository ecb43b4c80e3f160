"""A small workspace of scenes with the whole chain run in it, once a session."""

from __future__ import annotations

import shutil

import pytest

from labelseg.data.scenes import write_scenes
from labelseg.pipeline.runner import RunOptions
from labelseg.workspace import Workspace
from tests.stages.wilson_chain import run_steps

HERE = RunOptions(workers=0)

SETTINGS = """
[run]
target = "segment"
split = "val"

[train-classifier]
backbone = "tiny"
weights = "none"
validation = "val"
freeze_batchnorm = false
epochs = 1
batch_size = 4
long_side = [96, 128]
crop = 96

[cam]
scales = [1.0, 1.5]

[refine]
iters = 2

[train-affinity]
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 1
batch_size = 4
crop = 96

[propagate]
flip = true

[train-segmenter]
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 1
batch_size = 4
crop = 96
width = 32

[segment]
scales = [1.0]
"""


def make_workspace(root):
    """Write scenes and settings; nothing runs."""
    table = write_scenes(root, train=8, val=3, seed=0)
    lines = [f'{key} = "{value}"' for key, value in table.items()]
    (root / "labelseg.toml").write_text("[data]\n" + "\n".join(lines) + "\n" + SETTINGS)
    return root


@pytest.fixture(scope="session")
def finished_root(tmp_path_factory):
    """The folder of a workspace in which everything ran."""
    root = make_workspace(tmp_path_factory.mktemp("chain"))
    Workspace(root).run(options=HERE)
    return root


@pytest.fixture
def workspace(finished_root, tmp_path):
    """A copy of the finished workspace that a test may change."""
    shutil.copytree(finished_root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


@pytest.fixture(scope="session")
def steps_root(tmp_path_factory):
    """The folder of a workspace in which two steps of wilson ran; nobody changes it."""
    return run_steps(tmp_path_factory.mktemp("steps"))
