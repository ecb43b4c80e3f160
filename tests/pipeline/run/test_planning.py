"""A run plans once: under the lock, each node is decided once, and what was found then serves the work."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from labelseg.errors import NotFreshError, UsageError
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.run import planning, prospect
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.planning import planned
from labelseg.pipeline.run.runner import execute
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")
CHAIN = ["train-classifier", "cam", "refine", "train-segmenter", "spread"]


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return toy.make(tmp_path / "w", images=3)


@pytest.fixture
def decided(monkeypatch) -> Counter:
    """Counts how often each instance is decided about."""
    counts: Counter = Counter()
    decide = Planner.decide

    def counting(self, node, standings):
        counts[node.instance] += 1
        return decide(self, node, standings)

    monkeypatch.setattr(Planner, "decide", counting)
    return counts


@pytest.fixture
def looked_up(monkeypatch) -> list[str]:
    """Lists the stages whose parts are read."""
    found: list[str] = []
    read = prospect.headers_holding
    monkeypatch.setattr(prospect, "headers_holding", lambda root, stage, keys: found.append(stage) or read(root, stage, keys))
    return found


def run(root: Path, target=None, split=None, params=None, **options):
    return toy.ToyWorkspace(root).run(target, split, options=replace(HERE, **options), **(params or {}))


def test_what_is_fresh_is_decided_once(root, decided):
    run(root)
    decided.clear()
    run(root)
    assert decided == dict.fromkeys(CHAIN, 1)


def test_only_what_reads_something_that_changes_is_decided_again(root, decided):
    run(root)
    decided.clear()
    run(root, "refine", params={"alpha": 3.0})
    assert decided == dict.fromkeys(CHAIN[:3], 1)
    decided.clear()
    run(root)
    # The masks stay the same, so the training stays fresh: but that is known only when they are made.
    assert decided == dict.fromkeys(CHAIN, 1)
    toy.set_image(root, "t001", 9)
    decided.clear()
    run(root)
    assert decided == {"train-classifier": 1, "cam": 1, "refine": 2, "train-segmenter": 2, "spread": 2}


def test_the_parts_of_a_stage_are_read_once_for_plan_and_work(root, looked_up):
    run(root)
    assert looked_up == ["cam", "refine", "spread"]
    toy.set_image(root, "t001", 9)
    looked_up.clear()
    run(root)
    assert looked_up == ["cam", "refine", "spread"]


def test_items_that_an_earlier_step_made_are_taken_up(root, decided):
    """Two instances of equal parameters: the second was planned before the first made its items."""
    (root / "labelseg.toml").write_text(toy.TOML + '[spread]\ncam = "cam@twin"\n[cam.twin]\n')
    run(root)
    toy.computed(root)
    toy.set_image(root, "t001", 9)
    decided.clear()
    with planned(toy.ToyWorkspace(root), options=HERE) as plan:
        assert [(r.action, r.computed) for r in plan.report.results if r.instance.startswith("cam")] == [("computed", 1), ("computed", 1)]
        report = execute(plan)
    assert [r.action for r in report.results if r.instance.startswith("cam")] == ["computed", "reused"]
    assert toy.computed(root).count("cam t001") == 1
    assert decided["cam"] == decided["cam@twin"] == 1


def test_a_plan_is_made_after_others_have_let_go(root, monkeypatch):
    lock = planning.workspace_lock

    @contextmanager
    def waiting(folder, purpose, wait):
        monkeypatch.setattr(planning, "workspace_lock", lock)
        run(root)  # another process, which ends while this one waits
        toy.computed(root)
        with lock(folder, purpose, wait):
            yield

    monkeypatch.setattr(planning, "workspace_lock", waiting)
    assert {result.action for result in run(root).results} == {"fresh"}
    assert toy.computed(root) == []


def test_the_plan_is_what_the_run_does(root):
    toy.set_image(root, "t100", 9)
    with planned(toy.ToyWorkspace(root), options=HERE) as plan:
        told = [(r.instance, r.action, r.reasons) for r in plan.report.results]
        done = [(r.instance, r.action, r.reasons) for r in execute(plan).results]
    assert told == done


@pytest.mark.parametrize("retrain", [False, True])
def test_what_reads_a_result_that_is_taken_up_again_is_decided_by_that_result(root, retrain):
    run(root)
    with planned(toy.ToyWorkspace(root, environ={"LABELSEG_REFINE__ALPHA": "0"}), "refine", options=HERE) as plan:
        execute(plan)  # other masks, which nothing has read
    toy.computed(root)
    told = run(root, retrain=retrain, dry_run=True)
    assert [(r.instance, r.action) for r in told.results if r.action != "fresh"] == [("refine", "reused")]
    done = run(root, retrain=retrain)
    assert [(r.instance, r.action) for r in done.results] == [(r.instance, r.action) for r in told.results]
    assert toy.computed(root) == []


def test_a_whole_chain_that_is_taken_up_again_is_foreseen(root):
    run(root)
    other = {"LABELSEG_CAM__SCALES": "1", "LABELSEG_TRAIN_CLASSIFIER__EPOCHS": "2"}
    with planned(toy.ToyWorkspace(root, environ=other), options=HERE) as plan:
        execute(plan)
    told = run(root, dry_run=True)
    assert [(r.instance, r.action, r.computed) for r in told.results] == [(name, "reused", 0) for name in CHAIN]


def test_a_wrong_call_is_told_before_the_lock_and_writes_nothing(root):
    with pytest.raises(UsageError):
        run(root, until="nothing")
    assert not (root / ".labelseg").exists()


def test_a_refused_run_writes_no_parameters(root):
    text = (root / "labelseg.toml").read_text()
    with pytest.raises(NotFreshError):
        run(root, "spread", params={"beta": 4}, only=True)
    assert (root / "labelseg.toml").read_text() == text


def test_parameters_are_written_before_the_work(root):
    with planned(toy.ToyWorkspace(root), "cam", params={"flip": False}, options=HERE) as plan:
        assert "flip" not in (root / "labelseg.toml").read_text()
        texts = []
        execute(plan, lambda event, result: texts.append((root / "labelseg.toml").read_text()))
    assert all("flip = false" in text for text in texts)
    assert texts


def test_a_run_clears_what_work_that_was_cut_short_left(root, tmp_path):
    left, precious = root / ".labelseg" / "tmp", tmp_path / "precious"
    for folder in (left / "dead" / "c", precious):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"123")
    (left / "link").symlink_to(precious)
    toy.ToyWorkspace(root).run("train-classifier", options=RunOptions(workers=0, dry_run=True))
    assert sorted(path.name for path in left.iterdir()) == ["dead", "link"]
    toy.ToyWorkspace(root).run("train-classifier", options=RunOptions(workers=0))
    assert list(left.iterdir()) == []
    assert (precious / "half").read_bytes() == b"123"
