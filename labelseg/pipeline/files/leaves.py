"""Leaves: long tables of rows with sorted names, cut into files of some thousand rows, so that a change writes one file anew.

Where a leaf begins follows from the names in it alone, and it is called by the digest of its bytes: equal rows make equal leaves, whatever
was there before, and the record that lists leaves proves each of them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from operator import lt
from pathlib import Path
from typing import Any

from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically, write_if_absent
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.paths import is_key

LEAF_ROWS = 4096  # rows of a leaf on average; a table of no more than that needs none
CHANGED = "the content is not what was written"


def is_large(rows: int) -> bool:
    """Whether a table of so many rows lies in leaves."""
    return rows > LEAF_ROWS


def begins_leaf(name: str) -> bool:
    """Whether a row of this name is the first of a leaf: one of 4,096 is."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) % LEAF_ROWS == 0


def rises(names: Sequence[str]) -> bool:
    """Whether names are sorted and all different."""
    return all(map(lt, names, islice(names, 1, None)))


def cut(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Cut rows with these names into leaves: (start, stop) of each."""
    starts = [0, *(k for k, name in enumerate(names) if k and begins_leaf(name)), len(names)]
    for start, stop in pairwise(starts):
        if start < stop:
            yield start, stop


def write_leaf(folder: Path, value: Any) -> str:
    """Write a leaf, or leave the equal one that is there; one that is damaged gives way.

    Args:
        folder: Where leaves lie.
        value: JSON.

    Returns:
        Digest of its bytes, 32 hex characters, by which it is called.
    """
    data = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    name = digest(data)
    path = leaf_path(folder, name)
    if not write_if_absent(path, data) and not is_intact(path):
        write_atomically(path, data)
    return name


def read_leaf(path: Path) -> Any:
    """Read what a leaf holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what was written.
    """
    data = read_file(path)
    if digest(data) != path.stem:
        raise ValueError(CHANGED)
    return json.loads(data)


def is_intact(path: Path) -> bool:
    """Whether a leaf is there and what was written, without looking at what it says.

    Raises:
        OSError: it cannot be read for another reason than that it is not there.
    """
    try:
        return digest(read_file(path)) == path.stem
    except (FileNotFoundError, NotADirectoryError):
        return False


def leaf_path(folder: Path, name: str) -> Path:
    """Where a leaf lies.

    Raises:
        ValueError: the name is none.
    """
    if not is_key(name):
        raise ValueError(f"{name!r} is no leaf")
    return folder / f"{name}.json"
