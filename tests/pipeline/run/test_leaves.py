"""Runs whose artifacts lie in leaves: they make and compute what runs without leaves do, and look at what changed."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from labelseg.errors import ItemsFailedError
from labelseg.pipeline.files import leaves
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.store.items import leaf_items
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def run(root):
    return toy.ToyWorkspace(root).run("refine", options=HERE)


def state(root):
    """Key and digest of what every ref stands for, and the key of every item."""
    ws = toy.ToyWorkspace(root)
    refs = ws.catalog.refs()
    return [(r.instance, r.key, r.digest, [(i.id, i.key, i.digest) for i in ws.catalog.named(r).items]) for r in refs]


def test_leaves_change_neither_keys_nor_digests_nor_what_is_computed(tmp_path, monkeypatch):
    told = []
    for name, rows in (("plain", 4096), ("leaves", 3)):
        monkeypatch.setattr(leaves, "LEAF_ROWS", rows)
        root = toy.make(tmp_path / name, 12)
        run(root)
        first = state(root), toy.computed(root)
        toy.set_image(root, "t003a", 50)
        toy.set_image(root, "t005", 51)
        (root / "images" / "t008.txt").unlink()
        (root / "images" / "t010.txt").rename(root / "images" / "t010a.txt")  # the same content, and so the same key
        report = run(root)
        told.append((first, state(root), toy.computed(root), [(r.computed, r.total, repr(r.reasons)) for r in report.results]))
    assert told[0] == told[1]
    assert told[1][2] == [f"{stage} {name}" for stage in ("cam", "refine") for name in ("t003a", "t005", "t010a")]
    ws = toy.ToyWorkspace(tmp_path / "leaves")
    assert len(ws.catalog.named(ws.ref("refine", "train")).leaves) > 2
    assert ws.store.problems() == []


def test_what_was_made_without_leaves_goes_on_in_leaves_and_nothing_is_computed_again(tmp_path, monkeypatch):
    root = toy.make(tmp_path / "w", 12)
    run(root)
    toy.computed(root)
    monkeypatch.setattr(leaves, "LEAF_ROWS", 3)
    assert [r.action for r in run(root).results] == ["fresh"] * 3
    toy.set_image(root, "t003a", 50)
    run(root)
    assert toy.computed(root) == ["cam t003a", "refine t003a"]
    assert list((root / ".labelseg").glob("leaves/refine/*.json"))


def test_an_added_image_opens_no_leaf_more_than_twice_and_writes_one_of_each_map(tmp_path, monkeypatch):
    monkeypatch.setattr(leaves, "LEAF_ROWS", 3)
    root = toy.make(tmp_path / "w", 40)
    run(root)
    before = {*(root / ".labelseg").glob("leaves/*/*.json")}
    toy.set_image(root, next(f"t{k:03d}a" for k in range(10, 40) if not leaves.begins_leaf(f"t{k:03d}a")), 50)
    read = []
    monkeypatch.setattr(leaf_items, "read_leaf", lambda path: read.append(path) or leaves.read_leaf(path))
    run(root)
    written = {*(root / ".labelseg").glob("leaves/*/*.json")} - before
    assert sorted(path.parent.name for path in written) == ["cam", "refine"]
    times = Counter(path for path in read if path in before)
    assert max(times[path] for path in before if path.parent.name == "refine") == 2  # once to compare, once for the digest of all


def test_items_that_fail_lie_in_no_leaf_and_come_back_when_they_are_mended(tmp_path, monkeypatch):
    monkeypatch.setattr(leaves, "LEAF_ROWS", 3)
    root = toy.make(tmp_path / "w", 12)
    run(root)
    before = state(root)
    toy.computed(root)
    toy.set_image(root, "t004", "odd")
    with pytest.raises(ItemsFailedError):
        run(root)
    ws = toy.ToyWorkspace(root)
    record = ws.catalog.named(ws.ref("cam", "train"))
    assert (len(record.items), [f["id"] for f in record.failed], record.find("t004")) == (11, ["t004"], None)
    below = ws.catalog.named(ws.ref("refine", "train"))
    assert (len(below.items), below.failed) == (11, [])
    toy.computed(root)
    toy.set_image(root, "t004", 59)
    run(root)
    assert toy.computed(root) == ["cam t004", "refine t004"]
    toy.set_image(root, "t004", 5)
    run(root)
    assert (state(root), toy.computed(root)) == (before, [])


@pytest.mark.parametrize("which", ["cam", "refine"])
def test_a_run_goes_on_where_a_leaf_is_damaged_and_computes_nothing_again(tmp_path, monkeypatch, which):
    monkeypatch.setattr(leaves, "LEAF_ROWS", 3)
    root = toy.make(tmp_path / "w", 12)
    run(root)
    before = state(root)
    toy.computed(root)
    min((root / ".labelseg" / "leaves" / which).glob("*.json")).write_bytes(b"{}")
    rows = {row.instance: row for row in toy.ToyWorkspace(root).status()}
    assert rows[which].state == "damaged" and f"labelseg verify --repair {which}" in str(rows[which].reasons[0])
    toy.set_image(root, "t003a", 50)
    run(root)
    assert toy.computed(root) == ["cam t003a", "refine t003a"]
    (root / "images" / "t003a.txt").unlink()
    run(root)
    assert (state(root), toy.computed(root), toy.ToyWorkspace(root).store.problems()) == (before, [], [])
