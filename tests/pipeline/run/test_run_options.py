"""How to run: values that are none of their option are refused, and what a tag keeps stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")


@pytest.fixture
def done(tmp_path, monkeypatch) -> Path:
    """A workspace in which everything is fresh."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    root = toy.make(tmp_path / "w", images=3)
    run(root)
    toy.computed(root)
    return root


def run(root: Path, target=None, params=None, **options):
    return toy.ToyWorkspace(root).run(target, options=replace(HERE, **options), **(params or {}))


def refs_under(root: Path, tag: str) -> dict[str, str]:
    return {ref.instance: ref.key for ref in toy.ToyWorkspace(root).catalog.refs(tagged=True) if ref.tag == tag}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tag": "../x"}, "tag '../x': expected a name of 64 letters"),
        ({"tag": ""}, "tag '': expected a name"),
        ({"tag": "a:b"}, "tag 'a:b': expected a name"),
        ({"tag": "x" * 65}, "expected a name of 64 letters"),
        ({"tag": 3}, "tag 3: expected a name"),
        ({"workers": "x"}, "workers: expected a whole number from 0, or None, got 'x'."),
        ({"workers": -3}, "workers: expected a whole number from 0, or None, got -3."),
        ({"workers": 1.5}, "workers: expected a whole number"),
        ({"workers": True}, "workers: expected a whole number"),
        ({"wait": -1}, "wait: expected seconds from 0, got -1."),
        ({"wait": "long"}, "wait: expected seconds"),
        ({"force": "cam"}, "force: expected a set of names of instances, got 'cam'."),
        ({"force": frozenset({3})}, "force: expected a set of names"),
        ({"force": 3}, "force: expected a set of names"),
        ({"until": 3}, "until: expected the name of an instance, or None, got 3."),
        ({"from_": ["cam"]}, "from_: expected the name"),
        ({"retrain": "no"}, "retrain: expected True or False, got 'no'."),
        ({"device": None}, "device: expected a name such as cpu or cuda:1, got None."),
        ({"replace_tag": True}, "replace_tag: there is no tag to replace."),
    ],
)
def test_a_value_that_is_none_of_its_option_is_refused(options, message):
    with pytest.raises(UsageError) as caught:
        RunOptions(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize("options", [{"tag": "a.b-1"}, {"workers": 0}, {"wait": 0}, {"force": {"cam"}}, {"tag": "x", "replace_tag": True}])
def test_values_of_their_options_are_taken(options):
    assert all(getattr(RunOptions(**options), name) == value for name, value in options.items())


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"force": frozenset({"cam"})}, {"retrain": True}])
def test_what_a_tag_keeps_does_not_give_way_unless_that_is_said(done, options):
    run(done, "spread", params={"beta": 4}, tag="trial")
    before = refs_under(done, "trial")
    toy.computed(done)
    with pytest.raises(UsageError, match=r"'trial' keeps spread \(train\) of .*--delete trial.*replace_tag=True"):
        run(done, "spread", params={"beta": 5}, tag="trial", **options)
    assert (refs_under(done, "trial"), toy.computed(done)) == (before, [])
    run(done, "spread", params={"beta": 5}, tag="trial", replace_tag=True)
    assert toy.ToyWorkspace(done).ref("spread", "train", "trial").params["beta"] == 5.0


def test_what_a_tag_keeps_does_not_give_way_to_the_main_result(done):
    run(done, "spread", params={"beta": 4}, tag="trial")
    with pytest.raises(UsageError, match="'trial' keeps spread"):
        run(done, "spread", tag="trial")


def test_a_model_that_a_tag_keeps_is_not_trained_again_under_it(done):
    run(done, "spread", tag="kept", params={"beta": 4})
    ws = toy.ToyWorkspace(done)
    ws.catalog.set_ref(ws.ref("train-classifier"), "kept")
    toy.set_image(done, "t100", 9)
    before = refs_under(done, "kept")
    with pytest.raises(UsageError, match="'kept' keeps train-classifier of"):
        run(done, "train-classifier", tag="kept", retrain=True)
    assert refs_under(done, "kept") == before
    assert [r.action for r in run(done, "train-classifier", tag="kept").results] == ["outdated-kept"]


def test_trials_give_way_to_trials(done):
    run(done, "spread", params={"beta": 4}, tag="unsaved")
    run(done, "spread", params={"beta": 5}, tag="unsaved")
    assert toy.ToyWorkspace(done).ref("spread", "train", "unsaved").params["beta"] == 5.0
