"""An index of many files: rows in leaves, of which a change writes one anew."""

from __future__ import annotations

import json
import os

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from labelseg.pipeline.files import leaves
from labelseg.pipeline.files.digests import DigestColumn, digest
from labelseg.pipeline.files.file_table import Entry, FileTable
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.files.leaves import begins_leaf, cut, leaf_path, read_leaf, write_leaf
from labelseg.pipeline.files.seals import BLANK, seal

NAMES = [f"/data/{k:05d}-\u00e4\udc80.png" for k in range(300)]


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch):
    """Some twenty rows in a leaf."""
    monkeypatch.setattr(leaves, "LEAF_ROWS", 20)


def entry(number: int) -> Entry:
    return Entry(number, 10 * number, 100 * number, f"{number:032x}")


def filled(path, names=NAMES) -> FileTable:
    """A table that is written and opened again."""
    table = FileTable(path)
    for number, name in enumerate(names):
        table.set(name, entry(number))
    table.save()
    return FileTable(path)


def found(table: FileTable, names=NAMES) -> list[Entry | None]:
    return list(map(table.get, names))


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def slow_digest(*parts: bytes | str) -> str:
    hasher = blake3()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update((b"b%d:" if isinstance(part, bytes) else b"s%d:") % len(data) + data)
    return hasher.hexdigest(length=16)


@given(st.lists(st.text(max_size=5) | st.binary(max_size=5), max_size=12))
def test_a_digest_frames_every_part(parts):
    assert digest(*parts) == slow_digest(*parts)


@given(st.lists(st.sampled_from(["", "absent", "AB" * 16, " " * 32]) | st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=20))
def test_a_column_holds_the_texts_that_it_was_given(texts):
    column = DigestColumn(texts)
    assert (list(column), [column[k] for k in range(len(texts))], column[1:-1], column[::2]) == (texts, texts, texts[1:-1], texts[::2])


def test_leaves_follow_from_the_names_in_them():
    pieces = list(cut(NAMES))
    assert [NAMES[k] for start, stop in pieces for k in range(start, stop)] == NAMES
    assert len(pieces) > 5 and all(begins_leaf(NAMES[start]) for start, _ in pieces[1:])
    assert not any(begins_leaf(NAMES[k]) for start, stop in pieces for k in range(start + 1, stop))
    assert list(cut([])) == []


def test_many_files_are_remembered_by_the_next_process(tmp_path):
    table = filled(tmp_path / "files.json")
    assert found(table) == [entry(k) for k in range(len(NAMES))]
    assert table.get("/data/none") is None and table.get("/a") is None and table.get("/z") is None
    assert table.unseen() == []
    for number in [*range(len(NAMES)), 7, 250, 8]:
        size, mtime, inode, content = entry(number)
        assert table.digest_of(NAMES[number], (size, mtime, inode)) == content
        for other in ((size + 1, mtime, inode), (size, mtime + 1, inode), (size, mtime, inode + 1)):
            assert table.digest_of(NAMES[number], other) is None
    table.set(NAMES[7], entry(9))
    assert [table.digest_of(NAMES[7], entry(k)[:3]) for k in (7, 9)] == [None, entry(9).digest]
    table.set(NAMES[7], None)
    assert table.digest_of(NAMES[7], entry(9)[:3]) is None
    assert len(contents(tmp_path / "files")) == len(list(cut(NAMES)))


def test_one_changed_row_writes_one_leaf_anew(tmp_path):
    table = filled(tmp_path / "files.json")
    before = contents(tmp_path / "files")
    table.set(NAMES[150], entry(7))
    table.save()
    after = contents(tmp_path / "files")
    assert (len(before.keys() - after.keys()), len(after.keys() - before.keys())) == (1, 1)
    assert found(FileTable(tmp_path / "files.json"))[149:152] == [entry(149), entry(7), entry(151)]


def test_nothing_but_leaves_goes_and_nothing_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    others = [tmp_path / "elsewhere" / name for name in ("notes.json", f"{'a' * 32}.json")]
    for path in others:
        path.write_text("mine")
    (tmp_path / "files").symlink_to(tmp_path / "elsewhere")
    table = filled(tmp_path / "files.json")
    assert found(table) == [entry(k) for k in range(len(NAMES))]
    assert [path.read_text() for path in others] == ["mine", "mine"]
    (tmp_path / "files").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "files")
    table.set(NAMES[0], entry(9))
    table.save()
    assert [path.name for path in (tmp_path / "files").iterdir() if path.read_bytes() == b"mine"] == ["notes.json"]


def test_rows_that_are_forgotten_and_added_are_those_of_a_table_that_never_had_others(tmp_path):
    table = filled(tmp_path / "one" / "files.json")
    for name in NAMES[40:80]:
        table.set(name, None)
    table.set(NAMES[10], entry(1000))
    table.save()
    again = FileTable(tmp_path / "one" / "files.json")
    assert found(again) == [entry(1000 if k == 10 else k) if not 40 <= k < 80 else None for k in range(len(NAMES))]


def test_the_order_of_writing_leaves_no_trace(tmp_path):
    one, two = FileTable(tmp_path / "one" / "files.json"), FileTable(tmp_path / "two" / "files.json")
    for table, order in ((one, range(len(NAMES))), (two, reversed(range(len(NAMES))))):
        for number in order:
            table.set(NAMES[number], entry(number))
        table.save()
    assert contents(tmp_path / "one" / "files") == contents(tmp_path / "two" / "files")


def test_an_index_of_the_earlier_form_is_read_and_written_in_leaves(tmp_path):
    path = tmp_path / "files.json"
    path.write_text(json.dumps({"format": 1, "files": {name: list(entry(k)[:4]) for k, name in enumerate(NAMES)}}))
    table = FileTable(path)
    assert found(table) == [entry(k) for k in range(len(NAMES))]
    table.save()
    assert json.loads(path.read_bytes())["format"] == 2
    assert found(FileTable(path)) == [entry(k) for k in range(len(NAMES))]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"in":"","names":["/data/x"],"digests":"zz"}', b"[" * 100_000])
def test_a_damaged_leaf_costs_its_rows_and_no_others_until_they_are_known_again(tmp_path, data):
    table = filled(tmp_path / "files.json")
    leaf = json.loads((tmp_path / "files.json").read_bytes())["leaves"][3]
    start = NAMES.index(leaf[0])
    (tmp_path / "files" / f"{leaf[2]}.json").write_bytes(data)
    table = FileTable(tmp_path / "files.json")
    assert found(table) == [None if start <= k < start + leaf[1] else entry(k) for k in range(len(NAMES))]
    for number in range(start, start + leaf[1]):
        table.set(NAMES[number], entry(number))
    table.save()
    assert found(FileTable(tmp_path / "files.json")) == [entry(k) for k in range(len(NAMES))]


@pytest.mark.parametrize(("old", "new"), [(b'"format":2', b'"format":3'), (b"/data/", b"/date/")])
def test_a_list_of_leaves_that_is_not_what_was_written_counts_as_none(tmp_path, old, new):
    path = tmp_path / "files.json"
    filled(path)
    path.write_bytes(path.read_bytes().replace(old, new))
    assert found(FileTable(path)) == [None] * len(NAMES)


def edited_list(path, change):
    """Change the list of leaves, and let its seal fit."""
    values = json.loads(path.read_bytes())
    rows = [change(k, row) for k, row in enumerate(values["leaves"])]
    path.write_bytes(seal(json.dumps({**values, "leaves": rows, "seal": BLANK}).encode()))


@pytest.mark.parametrize(("column", "value"), [(c, v) for c in range(3) for v in (None, [], 1e308, -1.5, {}, [[1]], True) if c or v])
def test_a_list_of_leaves_of_other_types_counts_as_none_whatever_its_seal_says(tmp_path, column, value):
    filled(tmp_path / "files.json")
    edited_list(tmp_path / "files.json", lambda k, row: [value if (at, k) == (column, 2) else one for at, one in enumerate(row)])
    assert set(found(FileTable(tmp_path / "files.json"))) == {None}


def test_a_list_of_leaves_that_is_not_sorted_counts_as_none(tmp_path):
    filled(tmp_path / "files.json")
    edited_list(tmp_path / "files.json", lambda k, row: ["/z" if k == 0 else row[0], *row[1:]])
    assert set(found(FileTable(tmp_path / "files.json"))) == {None}


@pytest.mark.parametrize("change", [
    {"digests": "g" * 32}, {"digests": "0" * 33}, {"digests": ["0" * 32]}, {"digests": []}, {"sizes": [None]}, {"mtimes": [1e300]},
    {"inodes": [[]]}, {"inodes": [1, 1]}, {"names": [5]}, {"in": 5}, {},
])  # fmt: skip
def test_a_leaf_of_other_values_costs_its_rows_alone_whatever_its_name_says(tmp_path, change):
    filled(tmp_path / "files.json")
    path = tmp_path / "files.json"
    first = json.loads(path.read_bytes())["leaves"][0]
    row = {"in": "", "names": [first[0]], "sizes": [1], "mtimes": [1], "inodes": [1], "digests": "0" * 32}
    row |= (
        {"names": row["names"] * 2, **{name: [1, 1] for name in ("sizes", "mtimes", "inodes")}, "digests": "0" * 64} if not change else {}
    )
    forged = write_leaf(tmp_path / "files", {**row, **change})
    edited_list(path, lambda k, row: row if k else [row[0], 1, forged])
    rows = found(FileTable(path))
    assert (rows[: first[1]], None in rows[first[1] :]) == ([None] * first[1], False)


def test_a_leaf_proves_what_it_is_and_a_damaged_one_gives_way(tmp_path):
    name = write_leaf(tmp_path, {"names": ["a"]})
    path = leaf_path(tmp_path, name)
    assert read_leaf(path) == {"names": ["a"]}
    path.write_bytes(path.read_bytes().replace(b"a", b"b"))
    with pytest.raises(ValueError, match="not what was written"):
        read_leaf(path)
    assert write_leaf(tmp_path, {"names": ["a"]}) == name
    assert read_leaf(path) == {"names": ["a"]}


def test_of_many_files_those_are_forgotten_that_are_gone(tmp_path):
    paths = [tmp_path / f"{k:03d}.png" for k in range(60)]
    for path in paths:
        path.write_bytes(path.name.encode())
        os.utime(path, (1, 1))
    index = FileIndex(tmp_path / "files.json")
    expected = [index.digest(path) for path in paths]
    index.save()
    for path in paths[20:23]:
        path.unlink()
    again = FileIndex(tmp_path / "files.json")
    assert [again.digest(path) for path in paths[23:]] == expected[23:]
    assert again.forget_missing() == 3
    again.save()
    assert FileIndex(tmp_path / "files.json").forget_missing() == 0
