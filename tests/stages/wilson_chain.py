"""A workspace of scenes in which wilson learns two classes after three, a network of seconds."""

from __future__ import annotations

from labelseg.data.scenes.drawing import write_scenes
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace
from tests.stages.scene_files import data_table

HERE = RunOptions(workers=0, create=True)
BASE, NEW = "target,cross,star", "flag,diamond"
SETTINGS = f"""
[wilson]
task = "{BASE};{NEW}"
validation = "val"
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
width = 16
localizer_width = 16
batch_size = 4
crop = 64
epochs = 2
warmup_epochs = 1
evaluate_every = 2

[train-segmenter]
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 1
batch_size = 4
crop = 64
width = 16

[segment]
scales = [1.0]
flip = false
"""


def make_workspace(root, train=12, settings=SETTINGS):
    """Write scenes and settings; nothing runs."""
    table = write_scenes(root, train=train, val=3, seed=0)
    (root / "labelseg.toml").write_text(data_table(table) + settings)
    return root


def run_steps(root):
    """Make a workspace and run both steps in it from one command, with masks and pseudo labels of them."""
    workspace = Workspace(make_workspace(root))
    workspace.run("wilson@1", options=HERE)
    workspace.run("segment@base", "val", options=HERE, model="wilson@0")
    workspace.run("segment@new", "val", options=HERE, model="wilson@1")
    workspace.run("wilson-labels", "train", options=HERE)
    return root
