"""What is remembered of files, on disk: in one JSON file, or where there are many in leaves, of which a few are held at a time."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from labelseg.file_kinds import odd_kind
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.digests import DIGEST_BYTES
from labelseg.pipeline.files.leaves import cut, is_large, leaf_path, read_leaf, write_leaf
from labelseg.pipeline.files.paths import is_key
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal

WHOLE = 1  # format of an index that is one file
CUT = 2  # that of one whose rows lie in leaves
HELD = 8  # leaves in memory
DIGEST_CHARACTERS = 2 * DIGEST_BYTES
HEX = "0123456789abcdef"


class Entry(NamedTuple):
    """What is remembered of a file: the state that it had, and its digest; in a leaf also its place there."""

    size: int
    mtime_ns: int
    inode: int
    digest: str
    place: int = -1


class Leaf(NamedTuple):
    """A leaf as the JSON file lists it: name of the first row, number of rows, digest."""

    first: str
    rows: int
    digest: str


class FileTable:
    """Path -> entry. What cannot be read of it, or is not what was written, is not remembered.

    Args:
        path: The JSON file; leaves lie in the folder of the same name without ``.json``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_suffix("")
        self._leaves: list[Leaf] = []
        self._firsts: list[str] = []
        self._new: dict[str, Entry | None] = {}  # what no leaf says; None is forgotten
        self._held: OrderedDict[str, dict[str, Entry]] = OrderedDict()
        self._rows: dict[str, Entry] = {}  # of the leaf that was looked at last
        self._marks = bytearray()
        self._asked: dict[str, bytearray] = {}  # which rows of leaves were looked at
        self._changed = self._refused = False
        self._load()

    @property
    def waiting(self) -> int:
        """How many rows wait to be written; 0 where writing failed."""
        return 0 if self._refused else len(self._new)

    def get(self, name: str) -> Entry | None:
        """Look up what is remembered of a file."""
        if self._new and name in self._new:
            return self._new[name]
        entry = self._rows.get(name) or self._find(name)
        if entry is not None:
            self._marks[entry.place] = 1
        return entry

    def set(self, name: str, entry: Entry | None) -> None:
        """Remember something else of a file; None is nothing."""
        if entry is None and self.get(name) is None:
            return
        if entry is None and not self._leaves:
            del self._new[name]
        else:
            self._new[name] = entry
        self._changed = True

    def unseen(self) -> list[str]:
        """List the files that are remembered and were not looked up since the table was opened, as far as leaves tell."""
        found = [name for name, entry in self._new.items() if entry is not None]
        for leaf in self._leaves:
            marks = self._asked.get(leaf.digest)
            if marks is None or not all(marks):
                rows = self._open(leaf)
                found += [name for name, entry in rows.items() if not (marks and marks[entry.place]) and name not in self._new]
        return found

    def save(self) -> None:
        """Write what changed: leaves first, then the file that lists them."""
        if not self._changed:
            return
        self._refused = True
        if self._leaves or is_large(len(self._new)):
            self._write_leaves()
        else:
            files = {name: entry[:4] for name, entry in self._new.items() if entry is not None}
            write_atomically(self._path, json.dumps({"format": WHOLE, "files": files}, separators=(",", ":")).encode())
        self._changed = self._refused = False

    def _load(self) -> None:
        """Read the file, as far as it is one."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            data = b"" if odd_kind(self._path) else self._path.read_bytes()
            values = json.loads(data)
            if values["format"] == WHOLE:
                self._new = {name: Entry(*row) for name, row in values["files"].items() if _is_entry(row)}
                self._changed = is_large(len(self._new))  # written anew in leaves when there is occasion
            elif values["format"] == CUT:
                intact_seal(data)
                self._list(_leaves(values["leaves"]))

    def _list(self, leaves: list[Leaf]) -> None:
        """Take leaves as those that there are."""
        self._leaves, self._firsts = leaves, [leaf.first for leaf in leaves]
        self._held.clear()
        self._rows, self._marks = {}, bytearray()

    def _number(self, name: str) -> int:
        """Number of the leaf in which a name lies, or would."""
        return max(0, bisect_right(self._firsts, name) - 1)

    def _find(self, name: str) -> Entry | None:
        """Look a name up in its leaf, from now on the last."""
        if not self._leaves:
            return None
        leaf = self._leaves[self._number(name)]
        self._rows = self._open(leaf)
        self._marks = self._asked.setdefault(leaf.digest, bytearray(len(self._rows)))
        return self._rows.get(name)

    def _open(self, leaf: Leaf) -> dict[str, Entry]:
        """Read a leaf, or take it from those in memory; one that is not what was written is empty."""
        rows = self._held.get(leaf.digest)
        if rows is None:
            rows = {}
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                rows = _read_rows(read_leaf(leaf_path(self._folder, leaf.digest)))
            self._held[leaf.digest] = rows
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return rows

    def _write_leaves(self) -> None:
        """Write the leaves anew that changes lie in."""
        groups: dict[int, dict[str, Entry | None]] = {}
        for name, entry in self._new.items():
            groups.setdefault(self._number(name), {})[name] = entry
        leaves = []
        for number in range(max(1, len(self._leaves))):
            there = self._leaves[number : number + 1]
            if number not in groups:
                leaves += there
                continue
            rows: dict[str, Entry | None] = {**(self._open(there[0]) if there else {}), **groups[number]}
            entries = [(name, entry) for name, entry in sorted(rows.items()) if entry is not None]
            for start, stop in cut([name for name, _ in entries]):
                leaf = write_leaf(self._folder, _rows_json(entries[start:stop]))
                leaves.append(Leaf(entries[start][0], stop - start, leaf))
        values = {"format": CUT, "leaves": leaves, "seal": BLANK}
        write_atomically(self._path, seal(json.dumps(values, separators=(",", ":")).encode()))
        self._list(leaves)
        self._new = {}
        named = {leaf.digest for leaf in leaves}
        for path in self._folder.glob("*.json") if not self._folder.is_symlink() else ():
            if is_key(path.stem) and path.stem not in named:
                with suppress(OSError):
                    path.unlink()


def _leaves(rows: Any) -> list[Leaf]:
    """Read the list of leaves.

    Raises:
        ValueError, TypeError: it is none.
    """
    leaves = [Leaf(*row) for row in rows]
    if any(type(leaf.first) is not str or type(leaf.rows) is not int or not is_key(leaf.digest) for leaf in leaves):
        raise ValueError("that is no list of leaves")
    if any(one.first >= other.first for one, other in pairwise(leaves)):
        raise ValueError("the leaves are not sorted")
    return leaves


def _is_entry(row: Any) -> bool:
    """Whether a row of the file holds an entry and nothing else."""
    return isinstance(row, list) and list(map(type, row)) == [int, int, int, str] and is_key(row[3])


def _rows_json(rows: Sequence[tuple[str, Entry]]) -> dict[str, Any]:
    """Write rows as a leaf holds them: column by column, digests end to end."""
    folder = "".join(rows[0][0].rpartition("/")[:2])
    prefix = folder if rows[-1][0].startswith(folder) else ""
    entries = [entry for _, entry in rows]
    return {
        "in": prefix,
        "names": [name[len(prefix) :] for name, _ in rows],
        "sizes": [entry.size for entry in entries],
        "mtimes": [entry.mtime_ns for entry in entries],
        "inodes": [entry.inode for entry in entries],
        "digests": "".join(entry.digest for entry in entries),
    }


def _read_rows(values: dict[str, Any]) -> dict[str, Entry]:
    """Read what a leaf holds.

    Raises:
        ValueError, KeyError, TypeError: it is no leaf of this table.
    """
    text, prefix = values["digests"], values["in"]
    if not isinstance(text, str) or len(text) % DIGEST_CHARACTERS or text.strip(HEX):
        raise ValueError("those are no digests")
    if any(set(map(type, values[name])) - {int} for name in ("sizes", "mtimes", "inodes")):
        raise ValueError("that is no leaf of files")
    digests = [text[k : k + DIGEST_CHARACTERS] for k in range(0, len(text), DIGEST_CHARACTERS)]
    columns = values["sizes"], values["mtimes"], values["inodes"], digests, range(len(digests))
    entries = map(Entry._make, zip(*columns, strict=True))
    found = dict(zip([prefix + name for name in values["names"]], entries, strict=True))
    if len(found) != len(digests):
        raise ValueError("a name stands there twice")
    return found
