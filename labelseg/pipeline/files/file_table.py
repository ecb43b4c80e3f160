"""What is remembered of files, on disk: in one JSON file, or where there are many in leaves, of which a few are held at a time."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from labelseg.file_kinds import odd_kind
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.digests import DIGEST_CHARACTERS
from labelseg.pipeline.files.leaves import cut, is_large, leaf_path, read_leaf, rises, write_leaf
from labelseg.pipeline.files.paths import is_key
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal

WHOLE = 1  # format of an index that is one file
CUT = 2  # that of one whose rows lie in leaves
HELD = 8  # leaves in memory
HEX = "0123456789abcdef"


class Entry(NamedTuple):
    """What is remembered of a file: the state that it had, and its digest."""

    size: int
    mtime_ns: int
    inode: int
    digest: str


class Leaf(NamedTuple):
    """A leaf as the JSON file lists it: name of the first row, number of rows, digest."""

    first: str
    rows: int
    digest: str


class LeafEntries:
    """The rows of a leaf, sorted by name, column by column; an entry is made when it is asked for.

    Args:
        values: What the file holds.

    Raises:
        ValueError, KeyError, TypeError: it is no leaf of this table.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        prefix, self._digests = values["in"], values["digests"]
        if not isinstance(self._digests, str) or len(self._digests) % DIGEST_CHARACTERS or self._digests.strip(HEX):
            raise ValueError("those are no digests")
        self.names: list[str] = [prefix + name for name in values["names"]]
        self._states = values["sizes"], values["mtimes"], values["inodes"]
        if any({*map(type, column)} - {int} or len(column) != len(self.names) for column in self._states):
            raise ValueError("that is no leaf of files")
        if len(self._digests) != len(self.names) * DIGEST_CHARACTERS or not rises(self.names):
            raise ValueError("a name stands there twice, or has no digest")

    def __len__(self) -> int:
        return len(self.names)

    def place(self, name: str) -> int:
        """Find the row of a name; -1 where there is none."""
        place = bisect_left(self.names, name)
        return place if place < len(self.names) and self.names[place] == name else -1

    def state(self, place: int) -> tuple[int, int, int]:
        """Tell in what state the file at a place was."""
        sizes, mtimes, inodes = self._states
        return sizes[place], mtimes[place], inodes[place]

    def digest(self, place: int) -> str:
        """Tell the digest of the file at a place."""
        return self._digests[place * DIGEST_CHARACTERS : (place + 1) * DIGEST_CHARACTERS]

    def entries(self) -> dict[str, Entry]:
        """List all by name."""
        return {name: Entry(*self.state(place), self.digest(place)) for place, name in enumerate(self.names)}


NO_ROWS = LeafEntries({"in": "", "names": [], "sizes": [], "mtimes": [], "inodes": [], "digests": ""})


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
        self._held: OrderedDict[str, LeafEntries] = OrderedDict()
        self._rows = NO_ROWS  # of the leaf that was looked at last
        self._next = 0  # its row after the last one asked for
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
        place = self._place(name)
        return None if place < 0 else Entry(*self._rows.state(place), self._rows.digest(place))

    def digest_of(self, name: str, state: tuple[int, int, int]) -> str | None:
        """Tell the digest of a file that is in this state (size, time, inode); None where it was in another one, or is not remembered."""
        if self._new and name in self._new:
            entry = self._new[name]
            return entry.digest if entry is not None and entry[:3] == state else None
        place = self._place(name)
        return self._rows.digest(place) if place >= 0 and self._rows.state(place) == state else None

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
                names = self._open(leaf).names
                found += [name for place, name in enumerate(names) if not (marks and marks[place]) and name not in self._new]
        return found

    def save(self) -> None:
        """Write what changed: leaves first, then the file that lists them."""
        if not self._changed:
            return
        self._refused = True
        if self._leaves or is_large(len(self._new)):
            self._write_leaves()
        else:
            files = {name: entry for name, entry in self._new.items() if entry is not None}
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
        self._rows, self._marks = NO_ROWS, bytearray()

    def _number(self, name: str) -> int:
        """Number of the leaf in which a name lies, or would."""
        return max(0, bisect_right(self._firsts, name) - 1)

    def _place(self, name: str) -> int:
        """Find the row of a name and mark it, -1 where no leaf has one; its leaf is the last from now on. Most often it is the next row."""
        place, names = self._next, self._rows.names
        if not (place < len(names) and names[place] == name):
            place = self._rows.place(name)
            if place < 0 and self._leaves:
                leaf = self._leaves[self._number(name)]
                self._rows = self._open(leaf)
                self._marks = self._asked.setdefault(leaf.digest, bytearray(len(self._rows)))
                place = self._rows.place(name)
        if place >= 0:
            self._next = place + 1
            self._marks[place] = 1
        return place

    def _open(self, leaf: Leaf) -> LeafEntries:
        """Read a leaf, or take it from those in memory; one that is not what was written is empty."""
        rows = self._held.get(leaf.digest)
        if rows is None:
            rows = NO_ROWS
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                rows = LeafEntries(read_leaf(leaf_path(self._folder, leaf.digest)))
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
            rows: dict[str, Entry | None] = {**(self._open(there[0]).entries() if there else {}), **groups[number]}
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
