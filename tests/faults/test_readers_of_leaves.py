"""Readers of tables in leaves: whatever leaves say under digests that fit, or the records that list them, errors of ours come out."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.faults.ground.processes import call
from benchmarks.faults.ground.toys import STAGES
from benchmarks.faults.kinds.hostilities.leaves import renamed
from labelseg.errors import LabelsegError
from labelseg.pipeline.files import leaves
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.store.manifests import Manifest, ManifestItem
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import Store
from labelseg.results.scores import open_ref
from labelseg.workspace import Workspace
from tests.faults.mutations import TRIALS, bytes_changed, crashes, resealed, value_changed

KEY = "0123456789abcdef" * 2
NAMES = ("a1", "a2", "a4", "b1", "b2")
LEAVES = {"items": (".labelseg/leaves/spread", ".labelseg/manifests/spread"), "files": (".labelseg/files", ".labelseg")}


@pytest.fixture(scope="module", autouse=True)
def small_leaves():
    """Two rows in a leaf, or some more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaves, "LEAF_ROWS", 2)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A workspace with a map and an index of files in leaves."""
    root = tmp_path_factory.mktemp("leaves")
    (root / "images").mkdir()
    for name in NAMES:
        Image.new("RGB", (3, 2)).save(root / "images" / f"{name}.png")
        os.utime(root / "images" / f"{name}.png", (1_700_000_000,) * 2)  # long ago: remembered
    (root / "labelseg.toml").write_text('[data]\nimages = "images"\nclasses = ["background", "cat"]\n')
    (root / "leaf-rows").write_text("2")
    store = Store(root / ".labelseg")
    places = store.write_part("spread", {"version": 1}, [PartItem(name, KEY, {"mask": np.ones((2, 3), np.uint8)}) for name in NAMES])
    items = [ManifestItem(name, KEY, *place) for name, place in zip(NAMES, places, strict=True)]
    recipe = {"stage": "spread", "version": 1, "params": {}, "classes": ["background", "cat"], "sources": {}, "splits": {}, "inputs": {}}
    made = Manifest(stage="spread", version=1, key=KEY, params={"rows": 0}, recipe=recipe, items=items, created="2026-01-01")
    store.catalog.publish(made)
    store.catalog.set_ref(made.as_ref("spread", "all"))
    index = FileIndex(root / ".labelseg" / "files.json")
    for name in NAMES:
        index.digest(root / "images" / f"{name}.png")
    index.save()
    return root


def items(root: Path) -> None:
    """Read every item, and one of them alone."""
    workspace = Workspace(root, stages=STAGES)
    for ref in workspace.catalog.refs(tagged=True):
        found = open_ref(workspace, ref)
        for image_id in (*found, "b1", "zz"):
            if image_id in found:
                found[image_id]


def files(root: Path) -> None:
    """Digest files that the index knows, forget those that are gone, and write what is known."""
    index = FileIndex(root / ".labelseg" / "files.json")
    for name in NAMES:
        assert index.digest(root / "images" / f"{name}.png")
    index.forget_missing()
    index.save()


def commands(root: Path) -> None:
    """Ask the commands that look at everything."""
    for words in (("status", "--json"), ("verify",)):
        told = call(root, words, STAGES)
        assert not told.crash, told.crash


READERS = {"items": items, "files": files}


def test_both_tables_lie_in_leaves_and_read_well(root):
    assert all(list((root / folder).glob("*.json")) for folder, _ in LEAVES.values())
    items(root)
    files(root)


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("change", [value_changed, bytes_changed])
def test_a_leaf_that_says_something_else_under_its_own_digest_gives_an_error_of_ours_or_a_result(root, name, change):
    folder, record = root / LEAVES[name][0], min((root / LEAVES[name][1]).glob("*.json"))
    there = {path: path.read_bytes() for path in (*folder.glob("*.json"), record)}
    rng = random.Random(name)
    found = []
    for _ in range(TRIALS):
        leaf = rng.choice(sorted(folder.glob("*.json")))
        renamed(record, leaf, change(there[leaf], rng))
        try:
            READERS[name](root)
        except LabelsegError:
            continue
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
        finally:
            for path in folder.glob("*.json"):
                path.unlink()
            for path, data in there.items():
                path.write_bytes(data)
    assert found == []


@pytest.mark.parametrize("name", LEAVES)
def test_a_list_of_leaves_that_says_something_else_under_its_own_seal_gives_an_error_of_ours_or_a_result(root, name):
    (record,) = (root / LEAVES[name][1]).glob("*.json")
    there = {path: path.read_bytes() for path in (root / LEAVES[name][0]).glob("*.json")}

    def read(root: Path) -> None:
        try:
            READERS[name](root)
        finally:
            for path, data in there.items():
                path.write_bytes(data)

    assert crashes(root, f"{record.parent.relative_to(root)}/{record.name}", read, resealed) == []


@pytest.mark.parametrize("record", [f".labelseg/manifests/spread/{KEY}.json", ".labelseg/refs/spread/all.json", ".labelseg/files.json"])
def test_commands_that_look_at_everything_foresee_such_records(root, record):
    assert crashes(root, record, commands, resealed, 25) == []
