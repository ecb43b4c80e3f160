"""What a run does about questions to people: it waits, goes on with what is answered, and computes again what was answered anew."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest

from labelseg.answers.answer_files import Answer, answers_path, append_answers
from labelseg.errors import UsageError, WaitingError
from labelseg.pipeline.declare.stage import Stage, option, source
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")
ASKED = [(0, 1), (1, 2)]


@dataclass(frozen=True, kw_only=True)
class AskParams:
    of: str = source("masks", help="Masks.", kind="labels")


def ask(inputs, params):
    """Ask two pixels of every image."""
    return lambda item: {"points": np.array(ASKED, np.int32), "guesses": np.full(2, -1, np.int16)}


@dataclass(frozen=True, kw_only=True)
class UseParams:
    asked: str = source("ask", help="Questions.", kind="questions")
    partial: bool = option(False, help="Go on with open questions.", effective=lambda params: False)


def use(inputs, params):
    """Write down what was answered."""

    def compute(item):
        toy.note(inputs, f"use {item.id}")
        mask = np.full((2, 3), 255, np.uint8)
        for y, x, label in item.answers:
            mask[y, x] = 255 if label is None else inputs.classes.index(label)
        return {"mask": mask}

    return compute


STAGES = (
    Stage("ask", 1, "map", AskParams, ask, lambda params: (), asks=True),
    Stage("use", 1, "map", UseParams, use, lambda params: (), has_masks=True, answered="asked"),
)


def workspace(root):
    return toy.ToyWorkspace(root, STAGES)


def run(root, **params):
    return workspace(root).run("use", "train", options=HERE, **params)


def answer(root, *answers, instance="ask"):
    append_answers(answers_path(root, instance), [Answer(image=i, y=y, x=x, label=label) for i, (y, x), label in answers])


@pytest.fixture
def root(tmp_path):
    root = toy.make(tmp_path / "w", images=2)
    (root / "labelseg.toml").write_text('[run]\ntarget = "use"\nsplit = "train"\n')
    for image_id in ("t000", "t001", "v1", "v2"):
        (root / "masks" / f"{image_id}.txt").write_text("1")
    return root


def test_a_run_waits_until_all_questions_are_answered_and_names_the_command(root):
    answer(root, ("t000", ASKED[0], "cat"), ("t000", (1, 1), "cat"), ("t001", ASKED[0], None))
    with pytest.raises(WaitingError, match=r"2 of 4 questions of ask \(train\) are open. Answer them: labelseg annotate ask --split train"):
        run(root)
    os.utime(answers_path(root, "ask"), (2**32, 2**32))  # whatever clocks say
    assert next(row for row in workspace(root).status() if row.instance == "use").state == "waiting"
    answer(root, ("t000", ASKED[1], "dog"), ("t001", ASKED[1], "dog"))
    os.utime(answers_path(root, "ask"), (1, 1))
    assert next(row for row in workspace(root).status() if row.instance == "use").state == "missing"
    run(root)
    made = workspace(root)["use", "train"]
    assert made["t000"]["mask"].tolist() == [[255, 1, 255], [255, 1, 2]]
    assert made["t001"]["mask"].tolist() == [[255, 255, 255], [255, 255, 2]]
    assert [row.state for row in workspace(root).status()] == ["fresh", "fresh"]


def test_a_run_goes_on_with_open_questions_where_that_is_asked_for(root):
    run(root, partial=True)
    assert (workspace(root)["use", "train"]["t000"]["mask"] == 255).all()
    with pytest.raises(WaitingError):
        run(root, partial=False)


def test_what_is_read_as_questions_asks(root):
    with pytest.raises(UsageError, match=r"use --asked use: use asks nothing. Name one of: ask"):
        run(root, asked="use")


def test_only_images_that_were_answered_anew_are_computed_again(root):
    run(root, partial=True)
    assert toy.computed(root) == ["use t000", "use t001"]
    answer(root, ("t001", ASKED[0], "cat"), ("v1", ASKED[0], "cat"))
    assert [str(reason) for row in workspace(root).status() for reason in row.reasons] == ["1 changed"]
    run(root)
    assert toy.computed(root) == ["use t001"]
    answer(root, ("v1", ASKED[1], "cat"))
    answer(root, ("t000", ASKED[1], "cat"), instance="ask@other")
    run(root)
    assert toy.computed(root) == []
