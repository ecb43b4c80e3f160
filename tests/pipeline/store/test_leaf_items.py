"""Items of a large artifact in leaves: what a change writes, what damage costs, and that the history leaves no trace."""

from __future__ import annotations

import json
import random
import tracemalloc

import numpy as np
import pytest

from labelseg.errors import ArtifactError, DamageError
from labelseg.pipeline.files import leaves
from labelseg.pipeline.files.leaves import begins_leaf
from labelseg.pipeline.files.seals import BLANK, seal
from labelseg.pipeline.store.artifacts import Artifact
from labelseg.pipeline.store.items.item_rows import ItemLeaf
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.items.leaf_writing import write_items, write_merged
from labelseg.pipeline.store.manifests import Catalog, Manifest, ManifestItem, content_digest
from labelseg.pipeline.store.mending import mend
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.soundness import Soundness
from labelseg.pipeline.store.store import Store

KEY = "0123456789abcdef" * 2
STAGE = "cam"


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch):
    """Some ten items in a leaf."""
    monkeypatch.setattr(leaves, "LEAF_ROWS", 10)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def item(number: int, digest: int | None = None) -> ManifestItem:
    return ManifestItem(f"{number:05d}", f"{number:032x}", f"{number // 7:032x}", number % 7, f"{digest or number:032x}")


ITEMS = [item(k) for k in range(200)]


def manifest(items, key=KEY, **more) -> Manifest:
    return Manifest(stage=STAGE, version=1, key=key, params={"a": 1}, recipe={"params": {"a": 1}}, items=items, **more)


def names(root) -> set[str]:
    return {path.name for path in root.glob("leaves/*/*.json")}


def test_many_items_read_back_as_they_were_published(tmp_path):
    catalog = Catalog(tmp_path)
    assert catalog.publish(manifest(list(ITEMS), failed=[{"id": "x", "error": "odd"}]))
    found = catalog.load(STAGE, KEY)
    assert isinstance(found.items, LeafItems) and len(found.leaves) > 10
    assert list(found.items) == ITEMS and found.items == ITEMS and len(found.items) == len(ITEMS)
    assert [found.items[k] for k in (0, 7, 199, -1)] == [ITEMS[k] for k in (0, 7, 199, -1)] and found.items[5:40:3] == ITEMS[5:40:3]
    assert (found.digest, found.parts) == (content_digest(ITEMS), list(dict.fromkeys(i.part for i in ITEMS)))
    assert [found.find(i.id) for i in ITEMS] == ITEMS
    assert [found.find(name) for name in ("", "00000a", "99999")] == [None] * 3
    assert (found.failed, found.recipe) == ([{"id": "x", "error": "odd"}], {"params": {"a": 1}})


def test_a_record_that_lists_leaves_is_of_the_next_format_and_a_small_one_is_as_before(tmp_path):
    catalog = Catalog(tmp_path)
    catalog.publish(manifest(ITEMS[:10]))
    small = json.loads(catalog.manifest_path(STAGE, KEY).read_bytes())
    assert (small["format"], "leaves" in small, len(small["items"])) == (2, False, 10)
    catalog.publish(manifest(list(ITEMS)), replace=True)
    large = json.loads(catalog.manifest_path(STAGE, KEY).read_bytes())
    assert (large["format"], large["items"], sum(leaf[1] for leaf in large["leaves"])) == (3, [], 200)


@pytest.mark.parametrize(
    ("items", "meta"),
    [(ITEMS[::-1], {}), ([*ITEMS[:50], *ITEMS[:50]], {}), (ITEMS, {"model": {}}), ([i._replace(key="k") for i in ITEMS], {})],
)
def test_items_without_order_of_other_form_and_tensors_stay_in_the_record(tmp_path, items, meta):
    catalog = Catalog(tmp_path)
    catalog.publish(manifest(list(items), meta=meta))
    assert catalog.load(STAGE, KEY).items == items
    assert names(tmp_path) == set()


def test_one_changed_item_writes_one_leaf_anew_and_an_added_one_too(tmp_path):
    catalog = Catalog(tmp_path)
    catalog.publish(manifest(list(ITEMS)))
    before = names(tmp_path)
    catalog.publish(manifest([*ITEMS[:90], item(90, 5000), *ITEMS[91:]], key="f" * 32))
    assert len(names(tmp_path) - before) == 1
    before = names(tmp_path)
    added = next(k for k in range(100, 200) if not begins_leaf(f"{k:05d}a"))
    catalog.publish(manifest([*ITEMS[: added + 1], item(added)._replace(id=f"{added:05d}a"), *ITEMS[added + 1 :]], key="e" * 32))
    assert len(names(tmp_path) - before) == 1


@pytest.mark.parametrize("seed", range(30))
def test_leaves_taken_over_are_those_that_all_items_would_be_cut_into(tmp_path, seed):
    chance = random.Random(seed)
    old = LeafItems(tmp_path / "a", STAGE, write_items(tmp_path / "a", STAGE, ITEMS))
    gone = {*chance.sample(ITEMS, chance.choice([0, 1, 5, 60]))}
    between = [row._replace(id=f"{row.id}z") for row in chance.sample(ITEMS, chance.choice([0, 1, 30]))]
    after = [item(k) for k in range(200, 200 + chance.choice([0, 1, 50]))]
    wanted = sorted([*({*ITEMS} - gone), *between, *after])
    segments: list[ItemLeaf | list[ManifestItem]] = []
    for start, stop, leaf in old.stretches([i.id for i in wanted]):
        there = wanted[start:stop]
        segments += [leaf] if there == list(old.rows(leaf)) else [there[k : k + 3] for k in range(0, len(there), 3)]
    merged = write_merged(old, segments)
    assert list(merged) == wanted
    assert list(merged.leaves) == write_items(tmp_path / "b", STAGE, wanted)


def test_a_leaf_that_no_longer_begins_where_leaves_do_joins_what_lies_before(tmp_path):
    old = LeafItems(tmp_path, STAGE, write_items(tmp_path, STAGE, ITEMS))
    first, second, *others = old.leaves
    before = [item(7)._replace(id="-1"), item(8)._replace(id="-2")]
    merged = write_merged(old, [before, first, second, *others])
    assert list(merged.leaves) == write_items(tmp_path, STAGE, [*before, *ITEMS])
    rest = list(old.rows(second))[1:]
    whole = [*old.rows(first), *rest, *ITEMS[first.count + second.count :]]
    assert list(write_merged(old, [first, rest, *others]).leaves) == write_items(tmp_path, STAGE, whole)
    assert not begins_leaf(first.first) and not begins_leaf(rest[0].id)


def filled(tmp_path) -> tuple[Store, Manifest]:
    """A store with an artifact of sixty items in two parts, and its ref."""
    store = Store(tmp_path)
    made = []
    for start in (0, 30):
        items = [PartItem(f"{k:05d}", f"{k:032x}", {"mask": np.full((2, 3), k, np.uint8)}) for k in range(start, start + 30)]
        places = store.write_part(STAGE, {"version": 1, "params": {"a": 1}, "run": "r"}, items)
        made += [ManifestItem(part.id, part.key, *place) for part, place in zip(items, places, strict=True)]
    record = manifest(made)
    store.catalog.publish(record)
    store.catalog.set_ref(record.as_ref(STAGE, "train"))
    return store, store.catalog.load(STAGE, KEY)


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit": lambda path: path.write_bytes(path.read_bytes().replace(b'"index":[', b'"index":[ ')),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_leaf_is_told_costs_no_other_items_and_is_mended(tmp_path, how):
    store, record = filled(tmp_path)
    path, leaf, before = record.items.path(record.leaves[2]), record.leaves[2], names(tmp_path)
    sound = path.read_bytes()
    DAMAGE[how](path)
    record = store.catalog.load(STAGE, KEY)
    artifact = Artifact(store, record)
    with pytest.raises(DamageError, match=rf"{leaf.digest}\.json is (missing|damaged).* Repair: labelseg verify --repair cam"):
        _ = artifact[leaf.first]
    others = [i for i in range(60) if record.items.leaf_of(f"{i:05d}") != leaf]
    assert [int(artifact[f"{i:05d}"]["mask"][0, 0]) for i in others] == others and len(others) == 60 - leaf.count
    (ref,) = store.catalog.refs()
    assert leaf.digest in Soundness(store.catalog).manifest_problem(ref)
    problems = store.problems()
    assert [problem.path for problem in problems] == [path] and "labelseg verify --repair cam" in problems[0].text
    mend(store, problems)
    assert (store.problems(), path.read_bytes(), names(tmp_path)) == ([], sound, before)
    assert Soundness(store.catalog).manifest_problem(ref) == ""


def test_the_manifest_goes_where_a_leaf_cannot_be_made_again(tmp_path):
    store, record = filled(tmp_path)
    lost = store.write_part(STAGE, {"version": 2}, [PartItem("00007x", "f" * 32, {"mask": np.zeros((2, 3), np.uint8)})])
    foreign = ManifestItem("00007x", "f" * 32, *lost[0])
    other = manifest(sorted([*record.items, foreign]), key="d" * 32)
    store.catalog.publish(other)
    leaf = other.items.leaf_of("00007x")
    other.items.path(leaf).unlink()
    mend(store, store.problems())
    assert store.catalog.load(STAGE, "d" * 32) is None
    assert list(store.catalog.load(STAGE, KEY).items) == list(record.items)


def test_what_takes_the_place_of_a_leaf_is_what_it_held_and_nothing_else(tmp_path):
    store, record = filled(tmp_path)
    other = manifest([row._replace(digest="f" * 32) if row.id == "00007" else row for row in record.items], key="d" * 32)
    store.catalog.publish(other)
    other.items.path(other.items.leaf_of("00007")).unlink()
    mend(store, store.problems())
    assert store.catalog.load(STAGE, "d" * 32) is None


def test_a_leaf_is_believed_only_in_its_place(tmp_path):
    store, record = filled(tmp_path)
    one, two = record.items.path(record.leaves[1]), record.items.path(record.leaves[2])
    two.write_bytes(one.read_bytes())
    with pytest.raises(DamageError, match="not what was written"):
        list(store.catalog.load(STAGE, KEY).items)
    for change in ({"first": "x"}, {"count": record.leaves[3].count + 1}):
        with pytest.raises(DamageError, match="another leaf than its manifest names"):
            list(LeafItems(tmp_path, STAGE, [record.leaves[3]._replace(**change)]))


def test_leaves_that_hold_other_things_are_damaged_whatever_their_digest(tmp_path):
    good = {"ids": ["a"], "keys": KEY, "digests": KEY, "parts": [KEY], "part": [0], "index": [0]}
    for change in (
        {"ids": ["../a"]}, {"ids": [1]}, {"ids": ["a", "b"]}, {"parts": ["../x"]},
        {"part": [1]}, {"part": [-1]}, {"index": ["0"]}, {"keys": "ab"},
    ):  # fmt: skip
        name = leaves.write_leaf(tmp_path / "leaves" / STAGE, {**good, **change})
        with pytest.raises(DamageError, match="verify --repair cam"):
            list(LeafItems(tmp_path, STAGE, [ItemLeaf("a", 1, name)]))


@pytest.mark.parametrize("value", [["a", 0, KEY], ["a", 10**40, KEY], ["a", 1 << 33, KEY], ["a", True, KEY], ["a", 1, "x"], [5, 1, KEY]])
def test_a_list_of_leaves_that_cannot_be_is_damage(tmp_path, value):
    catalog = Catalog(tmp_path)
    catalog.publish(manifest(list(ITEMS)))
    path = catalog.manifest_path(STAGE, KEY)
    values = json.loads(path.read_text())
    path.write_bytes(seal(json.dumps({**values, "leaves": [value, *values["leaves"][1:]], "seal": BLANK}).encode()))
    with pytest.raises(DamageError, match="it lists what is no leaf"):
        catalog.load(STAGE, KEY)


def test_a_leaf_that_cannot_be_read_now_is_not_damaged(tmp_path, monkeypatch):
    _, record = filled(tmp_path)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(leaves, "read_file", refused)
    with pytest.raises(ArtifactError, match="cannot be read: Permission denied") as told:
        record.items.demand_intact()
    assert not isinstance(told.value, DamageError)


def test_gc_keeps_the_leaves_of_what_stands_and_removes_others(tmp_path):
    store, record = filled(tmp_path)
    kept = names(tmp_path)
    store.catalog.publish(manifest([i._replace(digest=f"{k:032x}") for k, i in enumerate(record.items)], key="e" * 32))
    assert len(names(tmp_path)) > len(kept)
    assert store.sweep(dry_run=True).manifests == 1 and len(names(tmp_path)) > len(kept)
    store.sweep()
    assert (names(tmp_path), store.problems()) == (kept, [])
    for path in tmp_path.glob("manifests/*/*.json"):
        path.write_bytes(b"{")
    store.sweep()
    assert names(tmp_path) == kept


def test_looking_one_item_up_takes_the_memory_of_a_leaf(tmp_path, monkeypatch):
    monkeypatch.setattr(leaves, "LEAF_ROWS", 200)
    catalog = Catalog(tmp_path)
    catalog.publish(manifest([item(k) for k in range(20_000)]))
    peaks = []
    for read in (lambda items: sum(1 for _ in items), list):
        tracemalloc.start()
        try:
            record = catalog.load(STAGE, KEY)
            assert record.find("12345") == item(12_345)
            read(record.items)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] < 0.5 * peaks[1]
