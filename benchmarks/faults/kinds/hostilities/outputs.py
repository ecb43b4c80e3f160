"""Folders that results are written to, in which links, pipes and folders stand in the place of what will be written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.kinds.hostilities.hostility import PEOPLE, Hostility, linked, replaced

PLACES = (
    "OUT/masks", "OUT/masks/a1.png", "OUT/a1.png", "OUT/deep", "OUT/deep/a3.png", "OUT/masks/deep", "OUT/overlays", "OUT/overlay",
    "OUT/classes.txt", "OUT/.predicted.jsonl", "OUT-yolo/data.yaml", "OUT-yolo/labels", "OUT-yolo/images", "OUT.html",
)  # fmt: skip


def outputs() -> list[Hostility]:
    """What is there before something is written: nothing that a link leads to may change, and nothing waits."""
    found = []
    ways: dict[str, Callable[[Path, Path], Any]] = {
        "is a link to a file elsewhere": lambda path, victim: linked(path, victim / "precious.txt"),
        "is a link to a folder elsewhere": lambda path, victim: linked(path, victim),
        "is a pipe": lambda path, victim: replaced(path, os.mkfifo),
        "is a link to a device": lambda path, victim: linked(path, Path("/dev/zero")),
        "is a folder": lambda path, victim: replaced(path, lambda there: (there / "inner").mkdir(parents=True)),
    }
    for name in PLACES:
        for way, change in ways.items():

            def prepare(root: Path, victim: Path, name: str = name, change: Any = change) -> None:
                change(root.parent / name, victim)

            # What a link to a file leads to may be compared with what is to be written.
            found.append(Hostility(f"{name} {way}", prepare, linked="to a file" in way, published=True, state=PEOPLE))
    return found
