"""Folders in which someone has prepared what people say: answers, marks, imported masks; and what is kept of shares, tags and qualities."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.kinds.hostilities.hostility import LONGEST, PEOPLE, Hostility, linked, replaced, sealed

DEPTH = 100_000
HASH = "0" * 32
CLIMB = "../../../victim/precious"
# What it is -> where it lies; the first that fits.
FILES = {
    "answers": "answers/ask.jsonl",
    "lock of answers": "answers/.ask.jsonl.lock",
    "corrections": "corrections/override.jsonl",
    "lock of corrections": "corrections/.override.jsonl.lock",
    "imported mask": "corrections/masks/*/*.png",
    "marks": "marks/spread~train.jsonl",
    "quality": ".labelseg/quality/spread~train.json",
    "job of shares": ".labelseg/shares/spread/*/job.json",
    "record of a share": ".labelseg/shares/spread/*/0.json",
    "record of another share": ".labelseg/shares/spread/*/1.json",
    "note of a tag": ".labelseg/unfinished/begun.json",
    "ref of a tag": ".labelseg/refs/spread/train@kept.json",
}
FOLDERS = (
    "answers", "corrections", "corrections/masks", "marks", ".labelseg/quality", ".labelseg/shares", ".labelseg/shares/spread",
    ".labelseg/shares/spread/KEY", ".labelseg/unfinished", ".labelseg/damaged", ".labelseg/damaged/spread",
)  # fmt: skip


def files() -> list[Hostility]:
    """Links, pipes, devices, folders and deep values in the place of each file."""
    found = []
    ways: dict[str, tuple[Callable[[Path, Path], None], bool]] = {
        "is a link to a file elsewhere": (lambda path, victim: linked(path, victim / "precious.txt"), True),
        "is a link to what is not there": (lambda path, victim: linked(path, victim / "deep" / "nothing.txt") or _gone(victim), True),
        "was moved and linked": (lambda path, victim: linked(path, victim / "moved.txt"), True),
        "is a pipe": (lambda path, victim: replaced(path, os.mkfifo), False),
        "is a link to a device": (lambda path, victim: linked(path, Path("/dev/zero")), False),
        "is a folder": (lambda path, victim: replaced(path, lambda there: (there / "inner").mkdir(parents=True)), False),
        "is empty": (lambda path, victim: replaced(path, Path.touch), False),
        "is deep": (lambda path, victim: replaced(path, lambda there: there.write_text("[" * DEPTH + "]" * DEPTH + "\n")), False),
    }
    for name, pattern in FILES.items():
        for way, (change, is_linked) in ways.items():

            def prepare(root: Path, victim: Path, pattern: str = pattern, change: Any = change) -> None:
                change(_place(root, pattern), victim)

            found.append(Hostility(f"{name} {way}", prepare, linked=is_linked, published=True, state=PEOPLE))
    return found


def folders() -> list[Hostility]:
    """Links and files in the place of each folder."""
    found = []
    ways: dict[str, tuple[Callable[[Path, Path], None], bool]] = {
        "is a link to a folder with other things": (lambda path, victim: linked(path, victim), True),
        "was moved and linked": (lambda path, victim: linked(path, victim / "moved"), True),
        "is a link to itself": (lambda path, victim: replaced(path, lambda there: there.symlink_to(there)), False),
        "is a file": (lambda path, victim: replaced(path, lambda there: there.write_text("no folder")), False),
        "holds links": (_with_links, True),
    }
    for name in FOLDERS:
        for way, (change, is_linked) in ways.items():

            def prepare(root: Path, victim: Path, name: str = name, change: Any = change) -> None:
                change(_place(root, name.replace("KEY", "*")), victim)

            found.append(Hostility(f"{name} {way}", prepare, linked=is_linked, published=True, state=PEOPLE))
    return found


def records() -> list[Hostility]:
    """Lines and records with names that climb, numbers that are none and values of other types; where they have seals, these fit."""
    found = []
    climbs = (CLIMB, "/etc/passwd", "..", "a\0b", "\ud800", "x" * LONGEST, "A1", "a1/../a1", 10**400, float("nan"), [], None)
    for value in climbs:
        shown = repr(value)[:30]
        lines: dict[str, tuple[str, dict[str, Any]]] = {
            "an answer about the image": ("answers/ask.jsonl", {"image": value, "y": 0, "x": 0, "class": "cat"}),
            "an answer in the row": ("answers/ask.jsonl", {"image": "a1", "y": value, "x": 0, "class": "cat"}),
            "an answer of the class": ("answers/ask.jsonl", {"image": "a1", "y": 0, "x": 0, "class": value, "ms": value}),
            "a correction of the image": ("corrections/override.jsonl", {"image": value, "mask": HASH, "classes": ["background"]}),
            "a correction by the mask": ("corrections/override.jsonl", {"image": "a1", "mask": value, "classes": ["background", "cat"]}),
            "a mark of the image": ("marks/spread~train.jsonl", {"image": value, "mark": "fix"}),
        }
        for name, (file, line) in lines.items():

            def append(root: Path, victim: Path, file: str = file, line: dict[str, Any] = line) -> None:
                with (root / file).open("a") as there:
                    there.write(json.dumps(line) + "\n")

            found.append(Hostility(f"{name} {shown}", append, published=True, state=PEOPLE))
        fields: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
            "items": ("record of a share", lambda value: {"items": [[value, HASH, HASH, 0, HASH]]}),
            "a part": ("record of a share", lambda value: {"items": [["a1", HASH, value, 0, HASH]]}),
            "a number": ("record of a share", lambda value: {"items": [["a1", HASH, HASH, value, HASH]]}),
            "a failure": ("record of a share", lambda value: {"failed": [{"id": value, "error": "no"}]}),
            "an instance": ("job of shares", lambda value: {"instance": value}),
            "a split": ("job of shares", lambda value: {"split": value}),
            "shares": ("job of shares", lambda value: {"shares": value}),
            "a file": ("note of a tag", lambda value: {"files": [value, "refs/spread/train@begun.json"]}),
            "an image": ("quality", lambda value: {"images": [{"id": value, "key": HASH, "quality": 0.5}]}),
            "a quality": ("quality", lambda value: {"images": [{"id": "a1", "key": HASH, "quality": value}]}),
            "a split of a tag": ("ref of a tag", lambda value: {"split": value}),
            "a tag": ("ref of a tag", lambda value: {"tag": value}),
        }
        for name, (kind, change) in fields.items():

            def reseal(root: Path, victim: Path, kind: str = kind, change: Any = change, value: Any = value) -> None:
                sealed(_place(root, FILES[kind]), **change(value))

            found.append(Hostility(f"{kind} with {name} {shown}", reseal, published=True, state=PEOPLE))
    for tag in ("..", "a%2Fb", "x" * (LONGEST - len("train@.json")), "KEPT", "a b", "-rf", "kept@kept"):

        def name_tag(root: Path, victim: Path, tag: str = tag) -> None:
            shutil.copy(root / FILES["ref of a tag"], root / ".labelseg/refs/spread" / f"train@{tag}.json")

        found.append(Hostility(f"a file of a tag named {tag[:20]!r}", name_tag, state=PEOPLE))
    for name in ("../../../victim/deep", "x" * LONGEST, "kept\nkept"):

        def note(root: Path, victim: Path, name: str = name) -> None:
            sealed(_place(root, FILES["note of a tag"]), files=[f"refs/spread/{name}"])

        found.append(Hostility(f"note of a tag with the file {name[:20]!r}", note, state=PEOPLE))
    return found


def _place(root: Path, pattern: str) -> Path:
    """The file or folder that a pattern means, there or not."""
    head, star, tail = pattern.partition("/*")
    if not star:
        return root / pattern
    return min((path for path in (root / head).glob(f"*{tail}")), default=min((root / head).glob("*")) / tail.strip("/"))


def _with_links(path: Path, victim: Path) -> None:
    """Put links to a folder, to a file and to nothing into a folder, under names of all kinds."""
    if not path.is_dir():
        path.mkdir(parents=True)
    for name in ("link", "link.json", "link.jsonl", HASH, "spread", "train@link.json", ".link.lock"):
        for number, goal in enumerate((victim, victim / "precious.txt", victim / "deep" / "nothing")):
            there = path / (name if not number else f"{number}{name}")
            if not os.path.lexists(there):
                there.symlink_to(goal)


def _gone(victim: Path) -> None:
    """Take away what moved to where nothing is to be."""
    (victim / "deep" / "nothing.txt").unlink(missing_ok=True)
