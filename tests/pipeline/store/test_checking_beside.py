"""Checking beside a run or a gc of another process: what comes and goes meanwhile is no damage."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from labelseg.pipeline.store import checking
from labelseg.pipeline.store.checking import check
from labelseg.pipeline.store.manifests import Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import OpenPart, PartItem
from labelseg.pipeline.store.store import Store

KEY = "0123456789abcdef" * 2


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with one artifact of two items."""
    store = Store(tmp_path / ".labelseg")
    arrays = {"mask": np.ones((2, 3), np.uint8)}
    places = store.write_part("cam", {"version": 1}, [PartItem(name, KEY, arrays) for name in ("a", "b")])
    items = [ManifestItem(name, KEY, *place) for name, place in zip("ab", places, strict=True)]
    manifest = Manifest(stage="cam", version=1, key=KEY, params={}, items=items)
    store.catalog.publish(manifest)
    store.catalog.set_ref(Ref(instance="cam", split="train", key=KEY, digest=manifest.digest, count=2))
    return store


def test_a_part_that_a_run_wrote_meanwhile_is_read_before_it_is_missed(store, monkeypatch):
    monkeypatch.setattr(checking, "part_paths", lambda root, stage: iter(()))
    assert list(check(store.root)) == []


def test_what_a_gc_removes_meanwhile_is_not_damaged(store, monkeypatch):
    def open_after_gc(path):
        for name in ("refs", "manifests", "objects"):
            shutil.rmtree(store.root / name, ignore_errors=True)
        return OpenPart(path)

    monkeypatch.setattr(checking, "OpenPart", open_after_gc)
    assert list(check(store.root)) == []


def test_a_part_that_is_gone_and_still_named_is_told(store):
    shutil.rmtree(store.root / "objects" / "cam")
    assert [problem.path.parent.parent.name for problem in check(store.root)] == ["manifests", "manifests"]
