"""Marks of parts that lie in the object store of the workspace and not here: ``away/<stage>/<part>.json``.

A mark is empty, or holds the header of the part where that was fetched. It goes when the part itself comes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.paths import below, is_key

FOLDER = "away"
DAMAGED = "damaged"


class PartsAway(Protocol):
    """Takes parts to an object store and brings them back; can be pickled."""

    def send(self, stage: str, part: str) -> None:
        """Put a part that lies here into the store, as well as that can be done now; what cannot be sent is sent with its manifest."""

    def fetch(self, stage: str, part: str) -> None:
        """Bring a part here, checked; a damaged one that lies here gives way.

        Raises:
            DamageError: it is not there, or is not what was written.
            UnreachableError: the store does not answer.
        """


def is_away(path: Path) -> bool:
    """Whether the part at ``path`` lies in the object store and not here, as far as is known."""
    return not os.path.lexists(path) and _mark(path).exists()


def away_header(path: Path) -> bytes:
    """Return the header of the part at ``path`` that is not here; empty where it was not fetched or the part is not away."""
    if os.path.lexists(path):
        return b""
    try:
        return read_file(_mark(path))
    except OSError:
        return b""


def away_parts(root: Path, stage: str = "*") -> set[tuple[str, str]]:
    """List (stage, part) of what is marked."""
    return {(path.parent.name, path.stem) for path in root.glob(f"{FOLDER}/{stage}/*.json") if is_key(path.stem)}


def noted_parts(root: Path) -> set[tuple[str, str]]:
    """List (stage, part) of what someone found damaged, here or in the object store."""
    return {(path.parent.name, path.name) for path in root.glob(f"{DAMAGED}/*/*") if is_key(path.name)}


def mark_away(root: Path, stage: str, part: str, header: bytes = b"") -> None:
    """Note that a part lies in the object store."""
    write_atomically(below(root / FOLDER, stage, f"{part}.json"), header)


def note_damage(root: Path, stage: str, part: str, etag: str) -> None:
    """Note that the object of a part was found damaged in the store, by the tag of its content: a sound one in its place has another."""
    write_atomically(below(root / FOLDER, stage, f"{part}.damaged"), etag.encode())


def is_damaged_there(root: Path, stage: str, part: str, etag: str) -> bool:
    """Whether the object of a part with this tag was found damaged in the store."""
    try:
        return read_file(below(root / FOLDER, stage, f"{part}.damaged")) == etag.encode()
    except OSError:
        return False


def strike_mark(root: Path, stage: str, part: str) -> None:
    """Forget that a part lies in the object store and not here."""
    below(root / FOLDER, stage, f"{part}.json").unlink(missing_ok=True)


def _mark(path: Path) -> Path:
    """Where the mark of the part at ``path`` lies; it is ``objects/<stage>/<ab>/<part>.zarr`` of a workspace."""
    return path.parents[3] / FOLDER / path.parent.parent.name / f"{path.stem}.json"
