"""Folders in which leaves, of the items of maps and of the index of files, are something else or say what no writer does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.kinds.hostilities.hostility import LONGEST, Hostility, leaf, linked, manifest, replaced, sealed

DEPTH = 100_000
HASH = "0" * 32
ODD: tuple[Any, ...] = (None, -1, 1e308, 10**40, "x" * 5_000, "a\0b", "\ud800", "../../victim/precious", [], {}, [[1]])
PLACES: dict[str, Callable[[Path], Path]] = {
    "leaf of items": leaf,
    "leaf of the index": lambda root: min((root / ".labelseg" / "files").glob("*.json")),
    "folder of leaves of items": lambda root: leaf(root).parent,
    "folder of all leaves": lambda root: root / ".labelseg" / "leaves",
    "folder of leaves of the index": lambda root: root / ".labelseg" / "files",
}


def files() -> list[Hostility]:
    """Links, pipes, devices, folders and deep values in the place of leaves and of their folders."""
    found = []
    ways: dict[str, tuple[Callable[[Path, Path], Any], bool]] = {
        "is a link to a file elsewhere": (lambda path, victim: linked(path, victim / "precious.txt"), True),
        "was moved and linked": (lambda path, victim: linked(path, victim / "moved"), True),
        "is a link to a folder with other things": (lambda path, victim: linked(path, victim), True),
        "is a pipe": (lambda path, victim: replaced(path, os.mkfifo), False),
        "is a link to a device": (lambda path, victim: linked(path, Path("/dev/zero")), False),
        "is a folder": (lambda path, victim: replaced(path, lambda there: (there / "inner").mkdir(parents=True)), False),
        "is a file with deep values": (lambda path, victim: replaced(path, lambda there: there.write_text("[" * DEPTH)), False),
        "holds links": (_with_links, True),
    }
    for name, pick in PLACES.items():
        for way, (change, is_linked) in ways.items():

            def prepare(root: Path, victim: Path, pick: Callable[[Path], Path] = pick, change: Any = change) -> None:
                change(pick(root), victim)

            if not (way == "holds links" and "folder" not in name):
                found.append(Hostility(f"{name} {way}", prepare, linked=is_linked, in_leaves=True))
    return found


def records() -> list[Hostility]:
    """Lists of leaves, and leaves, of other types and with names that climb; seals and digests fit."""
    found = []
    for value in ODD:
        shown = repr(value)[:30]
        lists: dict[str, Callable[[list[Any]], Any]] = {
            "the leaves": lambda rows, value=value: value,  # type: ignore[misc]
            "a leaf": lambda rows, value=value: [value, *rows[1:]],  # type: ignore[misc]
            "a first id": lambda rows, value=value: [[value, *rows[0][1:]], *rows[1:]],  # type: ignore[misc]
            "a number of items": lambda rows, value=value: [[rows[0][0], value, rows[0][2]], *rows[1:]],  # type: ignore[misc]
            "a digest": lambda rows, value=value: [[*rows[0][:2], value], *rows[1:]],  # type: ignore[misc]
        }
        for name, change in lists.items():
            for record, pick in {"manifest": manifest, "index of files": lambda root: root / ".labelseg" / "files.json"}.items():

                def relist(root: Path, victim: Path, pick: Any = pick, change: Any = change) -> None:
                    path = pick(root)
                    sealed(path, leaves=change(json.loads(path.read_text())["leaves"]))

                found.append(Hostility(f"{record} with {name} {shown}", relist, published=True, in_leaves=True))
        for column in ("ids", "keys", "digests", "parts", "part", "index"):

            def rewrite(root: Path, victim: Path, column: str = column, value: Any = value) -> None:
                _rewritten(root, **{column: value})

            found.append(Hostility(f"leaf of items with the column {column} {shown}", rewrite, published=True, in_leaves=True))

            def row(root: Path, victim: Path, column: str = column, value: Any = value) -> None:
                held = json.loads(leaf(root).read_text())[column]
                _rewritten(root, **{column: [value, *held[1:]] if isinstance(held, list) else str(value) + held[32:]})

            found.append(Hostility(f"leaf of items with a row in which {column} is {shown}", row, published=True, in_leaves=True))
        for column in ("in", "names", "sizes", "mtimes", "inodes", "digests"):

            def reindex(root: Path, victim: Path, column: str = column, value: Any = value) -> None:
                path = PLACES["leaf of the index"](root)
                renamed(root / ".labelseg" / "files.json", path, json.dumps({**json.loads(path.read_text()), column: value}).encode())

            found.append(Hostility(f"leaf of the index with the column {column} {shown}", reindex, published=True, in_leaves=True))
    for name in ("x" * LONGEST, "../../../victim/precious", "a\0b"):

        def rename(root: Path, victim: Path, name: str = name) -> None:
            _rewritten(root, ids=[name, *json.loads(leaf(root).read_text())["ids"][1:]])

        found.append(Hostility(f"leaf of items with the id {name[:20]!r}", rename, published=True, in_leaves=True))

    def other_stage(root: Path, victim: Path) -> None:
        taken, own = json.loads(manifest(root, "segment/train").read_text()), manifest(root)
        for _, _, digest in taken["leaves"]:
            there = root / ".labelseg" / "leaves" / "segment" / f"{digest}.json"
            (leaf(root).parent / f"{digest}.json").write_bytes(there.read_bytes())
        sealed(own, leaves=taken["leaves"])

    found.append(Hostility("manifest with the leaves of another stage", other_stage, published=True, in_leaves=True))
    return found


def _rewritten(root: Path, **columns: Any) -> None:
    """Change columns of a leaf of items, call it by its digest again and put its manifest right."""
    path = leaf(root)
    renamed(manifest(root), path, json.dumps({**json.loads(path.read_text()), **columns}).encode())


def renamed(record: Path, path: Path, data: bytes) -> None:
    """Write a leaf with another content under the name that its bytes have, and name it in a record."""
    from labelseg.pipeline.files.digests import digest

    name = digest(data)
    (path.parent / f"{name}.json").write_bytes(data)
    rows = json.loads(record.read_text())["leaves"]
    sealed(record, leaves=[[*row[:2], name if row[2] == path.stem else row[2]] for row in rows])


def _with_links(path: Path, victim: Path) -> None:
    """Put links to a folder, to a file and to nothing into a folder."""
    for number, goal in enumerate((victim, victim / "precious.txt", victim / "deep" / "nothing")):
        for name in ("link", "link.json", f"{HASH[1:]}{number}.json", f"{number}"):
            (path / (name if number == 0 else f"{number}{name}")).symlink_to(goal)
