"""Small workspaces of scenes with a whole chain run in each, once a session."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from labelseg.answers.answer_files import answers_path, append_answers
from labelseg.pages.annotation.answer_sources import true_answers
from labelseg.pages.annotation.asked_items import read_questions
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace
from tests.stages import labor_chain, wilson_chain

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
crf_iters = 2

[train-affinity]
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 1
batch_size = 4
crop = 96

[features]
backbone = "tiny"
weights = "none"

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


FEW_MASKS = """
[run]
target = "segment@few"
split = "many"

[train-unimatch]
split = "few"
unlabelled = "many"
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
iterations = 3
batch_size = 2
crop = 64
width = 32
threshold = 0.3
allow_missing = true

[segment.few]
model = "train-unimatch"
scales = [1.0]

[train-pseudoseg]
split = "few"
unlabelled = "many"
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
iterations = 3
batch_size = 2
crop = 64
width = 32
key_width = 16
cutout = 10
allow_missing = true
"""


def make_workspace(root, settings=SETTINGS):
    """Write scenes and settings; nothing runs."""
    return wilson_chain.make_workspace(root, train=8, settings=settings)


def make_few_masks(root):
    """Write scenes, four of them with masks and four without, and settings; nothing runs."""
    make_workspace(root, FEW_MASKS)
    names = [f"train_{k:04}" for k in range(8)]
    for name, listed in (("few", names[:4]), ("many", names[4:])):
        (root / "splits" / f"{name}.txt").write_text("\n".join(listed) + "\n")
    for name in names[4:]:
        next((root / "masks").glob(f"{name}.*")).unlink()
    return root


def run_few_masks(root):
    """Run everything there is to run on few masks."""
    workspace = Workspace(root)
    workspace.run(options=HERE)
    workspace.run("sgc", "many", options=HERE)


@pytest.fixture(scope="session")
def few_masks_root(tmp_path_factory):
    """The folder of a workspace of few masks in which everything ran."""
    root = make_few_masks(tmp_path_factory.mktemp("few"))
    run_few_masks(root)
    return root


@pytest.fixture
def few_masks(few_masks_root, tmp_path):
    """A copy of the workspace of few masks that a test may change."""
    shutil.copytree(few_masks_root, tmp_path / "few")
    return Workspace(tmp_path / "few")


@pytest.fixture(scope="session")
def finished_root(tmp_path_factory):
    """The folder of a workspace in which everything ran."""
    root = make_workspace(tmp_path_factory.mktemp("chain"))
    Workspace(root).run(options=HERE)
    return root


def run_clicks(root):
    """Ask about the masks of a finished chain, answer by the truth and correct them; compute features, which the chain does not read."""
    workspace = Workspace(root)
    workspace.run("features", "train", options=HERE)
    workspace.run("ask", "train", options=HERE)
    questions = read_questions(workspace, workspace.ref("ask", "train"))
    append_answers(answers_path(root, "ask"), true_answers(workspace.dataset, questions))
    workspace.run("correct", "train", options=HERE)
    return root


@pytest.fixture(scope="session")
def clicks_root(finished_root, tmp_path_factory):
    """The folder of a finished workspace whose masks are corrected; nobody changes it."""
    root = tmp_path_factory.mktemp("clicks") / "ws"
    shutil.copytree(finished_root, root)
    return run_clicks(root)


@pytest.fixture
def workspace(finished_root, tmp_path):
    """A copy of the finished workspace that a test may change."""
    shutil.copytree(finished_root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


@pytest.fixture(scope="session")
def steps_root(tmp_path_factory):
    """The folder of a workspace in which two steps of wilson ran; nobody changes it."""
    return wilson_chain.run_steps(tmp_path_factory.mktemp("steps"))


@pytest.fixture(scope="session")
def labor_root(tmp_path_factory):
    """The folder of a workspace of two domains in which two rounds were asked; nobody changes it."""
    return labor_chain.run_rounds(tmp_path_factory.mktemp("labor"))


class _Caught(BaseException):
    """Ends a run where its training would begin; no error of the machine or of labelseg."""


def caught_training(monkeypatch, module, name, run):
    """Run something up to where its training would begin, by the function ``name`` of a module; gives what it was to be made of."""
    given = {}

    def caught(inputs, params, net, samples, step, **settings):
        given.update(settings, params=params, net=net, samples=samples, step=step)
        raise _Caught

    monkeypatch.setattr(module, name, caught)
    with pytest.raises(_Caught):
        run()
    return SimpleNamespace(**given)
