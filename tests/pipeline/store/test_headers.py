"""Headers of parts: read whole, one item at a time, or only where a key stands."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from labelseg.errors import DamageError
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.seals import BLANK, seal
from labelseg.pipeline.store import headers
from labelseg.pipeline.store.headers import HeaderRows, PartHeader, headers_holding, is_sealed, part_path, part_paths, ways
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import Store

# Names that look like the text around them.
NAMES = ("plain", '{"id":"', ',{"id":"a', '"],"seal":"', ',"items":[{"id":"x', "ü/é", "back\\slash")


def items(count, tag):
    arrays = {"id": np.arange(3, dtype=np.uint8), "items": np.ones((2, 2), np.float32), "mask": np.zeros(0, np.uint8)}
    return [PartItem(f"{NAMES[k % len(NAMES)]}{k}", digest("key", tag, str(k)), arrays) for k in range(count)]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / ".labelseg")


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(headers, "LARGE_BYTES", 1)


def one_part(store, tag, count=9, params=None):
    made = items(count, tag)
    locations = store.write_part("cam", {"version": 1, "params": params or {"tag": tag}}, made)
    return made, part_path(store.root, "cam", locations[0].part)


def replace_in(path, old, new):
    file = path / "zarr.json"
    data = file.read_bytes()
    assert old in data
    changed = data.replace(old, new, 1)
    stated = changed[changed.rindex(b'"seal":"') + 8 :][:32]
    file.write_bytes(seal(changed.replace(stated, BLANK.encode())))


def test_items_read_one_by_one_are_those_of_the_whole_header(store, small_is_large):
    made, path = one_part(store, "a", 50)
    rows, whole = HeaderRows(path), PartHeader.read(path)
    assert rows._texts
    assert (len(rows), tuple(rows), tuple(rows[7:9])) == (50, whole.items, whole.items[7:9])
    assert [row.id for row in rows] == [item.id for item in made]


def test_params_that_look_like_items_are_read_whole(store, small_is_large):
    _, path = one_part(store, "a", params={"list": [{"x": 1}], "items": [{"id": "trap"}]})
    assert tuple(HeaderRows(path)) == PartHeader.read(path).items


def test_a_store_reads_from_large_headers_what_was_written(store, small_is_large):
    made, path = one_part(store, "a", 20)
    for index in (19, 0, 7):
        read = store.read("cam", path.stem, index)
        assert {name: array.tolist() for name, array in read.items()} == {n: a.tolist() for n, a in made[index].arrays.items()}
    with pytest.raises(DamageError, match="has 20 items, expected an item 20"):
        store.read("cam", path.stem, 20)
    with pytest.raises(DamageError, match="expected an item -1"):
        store.read("cam", path.stem, -1)


def test_no_changed_byte_of_a_large_header_is_believed(store, small_is_large):
    _, path = one_part(store, "a")
    data = (path / "zarr.json").read_bytes()
    for position in range(0, len(data), 41):
        (path / "zarr.json").write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(DamageError):
            HeaderRows(path)
        assert not is_sealed(path)
    (path / "zarr.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(DamageError):
        HeaderRows(path)


def test_a_large_header_of_another_part_or_stage_is_refused(store, small_is_large, tmp_path):
    _, path = one_part(store, "a")
    other = path.parent / f"{digest('other')}.zarr"
    shutil.copytree(path, other)
    with pytest.raises(DamageError, match="another part"):
        HeaderRows(other)
    assert not is_sealed(other)
    elsewhere = store.root / "objects" / "refine" / path.parent.name / path.name
    shutil.copytree(path, elsewhere)
    with pytest.raises(DamageError, match="another stage"):
        HeaderRows(elsewhere)


def test_an_array_that_leads_elsewhere_is_refused_when_it_is_read(store, small_is_large):
    _, path = one_part(store, "a")
    replace_in(path, b'"mask":["uint8"', b'"../m":["uint8"')
    with pytest.raises(DamageError, match="header is damaged"):
        HeaderRows(path)[0]


@pytest.mark.parametrize("few", [0, 64])
def test_headers_are_found_by_the_keys_of_their_items(store, monkeypatch, few):
    monkeypatch.setattr(headers, "FEW_KEYS", few)
    made = {path: [item.key for item in part] for part, path in (one_part(store, tag) for tag in "abc")}
    for path, keys in made.items():
        found = [header for header in headers_holding(store.root, "cam", {keys[3], digest("nowhere")}) if header.items[3].key == keys[3]]
        assert [header.part_id for header in found] == [path.stem]
    assert [h.part_id for h in headers_holding(store.root, "cam", {k for keys in made.values() for k in keys})] == [
        path.stem for path in part_paths(store.root, "cam")
    ]
    assert list(headers_holding(store.root, "cam", ())) == []


def test_headers_of_other_keys_are_not_parsed(store, monkeypatch):
    made, path = one_part(store, "a")
    one_part(store, "b")
    parsed = []
    monkeypatch.setattr(PartHeader, "parse", classmethod(lambda cls, where, data: parsed.append(where)))
    list(headers_holding(store.root, "cam", {made[2].key}))
    assert parsed == [path]


def test_a_damaged_header_holds_nothing_and_says_no_way(store):
    made, path = one_part(store, "a")
    _, sound = one_part(store, "b")
    with (path / "zarr.json").open("r+b") as file:
        file.seek(90)
        file.write(b"#")
    assert list(headers_holding(store.root, "cam", {made[0].key})) == []
    assert list(ways(store.root, "cam")) == [(1, {"tag": "b"})]
    os.remove(sound / "zarr.json")
    assert list(ways(store.root, "cam")) == []


def test_each_way_is_told_once_and_as_the_whole_header_says(store):
    params = {"text": '"header":{"version":2}', "items": [{"id": "x"}], "list": [1, [2.5, None]]}
    for tag in "ab":
        one_part(store, tag, params=params)
    one_part(store, "c")
    found = list(ways(store.root, "cam"))
    assert sorted(map(str, found)) == sorted(map(str, [(1, params), (1, {"tag": "c"})]))
