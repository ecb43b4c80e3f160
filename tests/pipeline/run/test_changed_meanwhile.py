"""Data that changes while it is worked on: what was computed from it is told and never kept under a key of other data."""

from __future__ import annotations

import os

import pytest

from labelseg.errors import ItemsFailedError
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def run(root, **options):
    return toy.ToyWorkspace(root).run("train-segmenter", options=RunOptions(workers=0, device="cpu", **options))


def contents(root):
    """Digest of what every ref stands for, the key and digest of every item, and the state of every node."""
    ws = toy.ToyWorkspace(root)
    named = {ref.instance: ws.catalog.named(ref) for ref in ws.catalog.refs()}
    return {name: (m.key, m.digest, [(i.id, i.key, i.digest) for i in m.items]) for name, m in named.items()}


def states(root):
    return {row.instance: (row.state, *toy.texts(row.reasons)) for row in toy.ToyWorkspace(root).status()}


def at(monkeypatch, moment, do):
    """Do something once, when a stage comes to a moment."""
    note, done = toy.note, []

    def noted(inputs, name):
        note(inputs, name)
        if name == moment and not done:
            done.append(1)
            do()

    monkeypatch.setattr(toy, "note", noted)


@pytest.fixture
def expected(tmp_path):
    """What undisturbed runs make: with the image as it was, and as it becomes."""
    found = []
    for value in (3, 50):
        root = toy.make(tmp_path / f"undisturbed {value}", 4)
        toy.set_image(root, "t002", value)
        run(root)
        found.append(contents(root))
    return found


@pytest.mark.parametrize("value", [50, None])
def test_an_item_of_which_the_image_changed_fails_and_is_computed_by_the_next_run(tmp_path, monkeypatch, expected, value):
    root = toy.make(tmp_path / "w", 4)
    toy.ToyWorkspace(root).run("train-classifier", options=HERE)
    image = root / "images" / "t002.txt"
    at(monkeypatch, "cam t002", lambda: image.write_text("50"))
    with pytest.raises(ItemsFailedError, match="cam for t002: expected the image that this run began with, but it changed while the run"):
        toy.ToyWorkspace(root).run("refine", options=HERE)
    found = contents(root)
    assert [item[0] for item in found["cam"][2]] == ["t000", "t001", "t003"]
    assert found["cam"][2] == [item for item in expected[0]["cam"][2] if item[0] != "t002"]
    # Put back, nothing of the other image is taken for it; left as it is, it is what an undisturbed run makes of it.
    toy.set_image(root, "t002", value or 3)
    toy.ToyWorkspace(root).run("refine", options=RunOptions(workers=0, device="cpu", retrain=True))
    found = contents(root)
    for name in ("train-classifier", "cam", "refine"):
        assert found[name] == expected[bool(value)][name]


@pytest.mark.parametrize(("name", "change"), [
    ("tags", lambda root: (root / "tags.json").write_text('{"t002": [2]}')),
    ("image", lambda root: (root / "images" / "t002.txt").unlink()),
])  # fmt: skip
def test_tags_that_change_and_images_that_go_are_told_as_well(tmp_path, monkeypatch, name, change):
    root = toy.make(tmp_path / "w", 4)
    toy.ToyWorkspace(root).run("train-classifier", options=HERE)
    at(monkeypatch, "cam t002", lambda: change(root))
    monkeypatch.setattr(toy.ToyDataset, "image", lambda data, image_id: toy.np.zeros((2, 3, 3), toy.np.uint8))  # was read before
    with pytest.raises(ItemsFailedError, match=f"cam for t002: expected the {name} that this run began with"):
        toy.ToyWorkspace(root).run("cam", options=HERE)


def test_the_truth_and_files_of_other_programs_count_too(tmp_path):
    from labelseg.pipeline.engines.unchanged import Unchanged
    from labelseg.pipeline.files.fingerprint import FreshDigests
    from labelseg.pipeline.plan.decisions import Entry

    root, file = toy.make(tmp_path / "w", 4), tmp_path / "t001.npy"
    (root / "masks" / "t001.txt").write_text("1")
    file.write_text("1")
    data, digests = toy.ToyDataset(root), FreshDigests()
    mask, other = digests.digest(root / "masks" / "t001.txt"), digests.digest(file)
    entry = Entry("t001", {"@labels": mask, "attached": other, "@cam": "of an artifact", "answers": "of people"}, {}, attached=file)
    assert Unchanged(data, digests, {"labels"}).changed([entry]) == []
    (root / "masks" / "t001.txt").write_text("2")
    assert list(Unchanged(data, digests, {"labels"}).changes(entry)) == ["mask"]
    assert list(Unchanged(data, digests).changes(entry)) == []
    file.write_text("2")
    assert list(Unchanged(data, digests).changes(entry)) == [f"file {file}"]


def test_a_model_of_images_that_changed_meanwhile_stands_for_neither_state_of_them(tmp_path, monkeypatch, expected, caplog):
    root = toy.make(tmp_path / "w", 4)
    at(monkeypatch, "train-classifier", lambda: toy.set_image(root, "t002", 50))
    toy.ToyWorkspace(root).run("train-classifier", options=HERE)
    assert "train-classifier: 1 image changed while the model learned, t002 the first" in caplog.text
    assert caplog.text.rstrip().endswith("To train anew: labelseg train-classifier --retrain")
    mixed = contents(root)["train-classifier"]
    assert mixed[0] not in (expected[0]["train-classifier"][0], expected[1]["train-classifier"][0])
    for value in (50, 3):
        toy.set_image(root, "t002", value)
        assert states(root)["train-classifier"] == ("outdated", "trained on 4 of 4 images, 1 changed")
        run(root)
        assert contents(root)["train-classifier"] == mixed
    run(root, retrain=True)
    assert contents(root) == expected[0]
    toy.set_image(root, "t002", 50)
    run(root, retrain=True)
    assert contents(root) == expected[1]


def test_a_model_of_images_that_stayed_is_what_it_was(tmp_path, caplog):
    root = toy.make(tmp_path / "w", 4)
    run(root)
    assert (caplog.text, {state for state, *_ in states(root).values()} - {"missing"}) == ("", {"fresh"})
