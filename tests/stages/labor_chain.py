"""A workspace of scenes by day and at dusk in which two rounds were asked, a network of seconds."""

from __future__ import annotations

from labelseg.answers.answer_files import answers_path, append_answers
from labelseg.pages.annotation.answer_sources import true_answers
from labelseg.pages.annotation.asked_items import read_questions
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace

TRAIN = "target:train"
HERE = RunOptions(workers=0, create=True)
SETTINGS = """
[data]
scenes = {train = 4, val = 1}

[data.target]
scenes = {train = 3, val = 1, style = "dusk", seed = 1}

[train-uda]
backbone = "tiny"
weights = "none"
head = "deeplabv3plus"
width = 16
freeze_batchnorm = false
crop = 64
iterations = 3
lr = 0.01

[train-selector]
crop = 64
iterations = 3
lr = 1e-5
second = "fresh"
beta = 0.1

[labor-select]
cap = 9

[labor-select.chance-1]
strategy = "random"
like = "labor-select@1"

[labor-annotate.chance-1]
asked = "labor-select@chance-1"
"""


def make_workspace(root, settings=SETTINGS):
    """Write settings; scenes are drawn when they are asked for."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "labelseg.toml").write_text(settings)
    return Workspace(root)


def run_rounds(root):
    """Run two rounds with all they need, and one choice by chance."""
    workspace = make_workspace(root)
    for asking in ("labor-select@1", "labor-select@2"):
        workspace.run(asking, TRAIN, options=HERE)
        answer(workspace, asking)
    workspace.run("train-uda@2", options=HERE)
    workspace.run("labor-select@chance-1", TRAIN, options=HERE)
    return root


def answer(workspace, asking, noise=0.0):
    """Let true masks answer all that an instance asks."""
    questions = read_questions(workspace, workspace.ref(asking, TRAIN))
    append_answers(answers_path(workspace.root, asking), true_answers(workspace.dataset, questions, noise))
