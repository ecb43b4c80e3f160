"""Masks that people corrected or other programs made, in ``corrections/`` beside ``labelseg.toml``: the one module that knows the format.

The lines of an instance, such as ``corrections/override.jsonl``, say which mask counts for an image; of several about an image the last one
does. They are only ever appended to, and nothing in a workspace removes them or the masks. A line is

    {"image": "farm/1", "mask": "5f…", "classes": ["background", "cat"], "who": "anna", "when": "2026-01-31T10:00:00+00:00",
     "from": "cvat.zip", "format": "cvat"}

``mask`` is the digest of a PNG file of class ids, ``corrections/masks/5f/5f….png``, or null where a mask is withdrawn; ``classes`` are the
names of the ids in it. The last key of a line that was written here is ``seal``, by which a change is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from labelseg.answers.line_files import BadLine, append_lines, demand, is_id, parse_lines, read_bytes
from labelseg.errors import DataError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically, write_if_absent
from labelseg.pipeline.files.digests import DIGEST_BYTES

FOLDER = "corrections"
EXPECTED = "corrections"
_DIGEST = re.compile(rf"[0-9a-f]{{{2 * DIGEST_BYTES}}}")


@dataclass(frozen=True)
class Correction:
    """Which mask counts for an image.

    Attributes:
        image: Id of the image.
        mask: Digest of the mask; None where the last one is withdrawn.
        classes: Names of the ids in the mask.
        who: The person, or what stands for one.
        when: ISO 8601 with the zone; empty takes the time at which it is written.
        source: Where the mask came from.
        form: Its format there.
    """

    image: str
    mask: str | None
    classes: tuple[str, ...]
    who: str = ""
    when: str = ""
    source: str = ""
    form: str = ""


@dataclass(frozen=True)
class Corrections:
    """The content of a file: all lines that can be read, in order, and those that cannot."""

    lines: tuple[Correction, ...]
    bad: tuple[BadLine, ...]

    def current(self) -> dict[str, Correction]:
        """Map each image that has a mask to the line that counts."""
        last = {line.image: line for line in self.lines}
        return {image: line for image, line in last.items() if line.mask is not None}


def corrections_path(root: Path, instance: str) -> Path:
    """Name the file of the masks of an instance, in the workspace at ``root``."""
    return Path(root) / FOLDER / f"{instance}.jsonl"


def masks_folder(root: Path) -> Path:
    """Name the folder of the masks of a workspace."""
    return Path(root) / FOLDER / "masks"


def mask_path(root: Path, digest: str) -> Path:
    """Name the file of a mask."""
    return masks_folder(root) / digest[:2] / f"{digest}.png"


def mask_digest(data: bytes) -> str:
    """Digest the bytes of a mask file."""
    return blake3(data).hexdigest(length=DIGEST_BYTES)


def store_mask(root: Path, data: bytes) -> str:
    """Keep the bytes of a mask file; equal ones are kept once, and a damaged file of them gives way. Return their digest."""
    digest = mask_digest(data)
    path = mask_path(root, digest)
    if not write_if_absent(path, data) and mask_digest(read_file(path)) != digest:
        write_atomically(path, data)
    return digest


def demand_mask(path: Path) -> None:
    """Refuse a mask file that is not what was kept.

    Raises:
        DataError: it is gone, or its bytes are not those that were kept.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: a mask that was imported cannot be read. Import it again: labelseg import-masks") from error
    if mask_digest(data) != path.stem:
        raise DataError(f"{path}: a mask that was imported is damaged. Import it again: labelseg import-masks")


def append_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Append lines, as ``append_lines`` does.

    Raises:
        DataError: the path is no file.
        OSError: it cannot be written.
    """
    append_lines(path, map(_values, corrections), EXPECTED)


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections; empty where there is none. What cannot be read is told and costs no other line.

    Raises:
        DataError: the path is no file.
    """
    return Corrections(*parse_lines(read_bytes(path, EXPECTED), path, _correction, "a correction"))


def _values(line: Correction) -> dict[str, Any]:
    """Return what is written of a correction."""
    when = line.when or datetime.now(UTC).isoformat(timespec="milliseconds")
    about = {"who": line.who, "when": when, "from": line.source, "format": line.form}
    return {"image": line.image, "mask": line.mask, "classes": list(line.classes), **about}


def _correction(values: dict[str, Any]) -> Correction:
    """Read a line.

    Raises:
        ValueError: it is no correction.
    """
    mask, classes = values.get("mask"), values.get("classes")
    demand(is_id(values.get("image")), "'image' is no id of an image")
    demand("mask" in values, "'mask' is missing")
    # A digest is part of a path.
    demand(mask is None or (isinstance(mask, str) and _DIGEST.fullmatch(mask) is not None), "'mask' is neither a digest nor null")
    demand(isinstance(classes, list) and all(isinstance(name, str) for name in classes), "'classes' is no list of names")
    texts = ("who", "when", "from", "format")
    demand(all(isinstance(values.get(name, ""), str) for name in texts), f"{', '.join(texts)} are not all text")
    who, when, source, form = (values.get(name, "") for name in texts)
    return Correction(values["image"], mask, tuple(classes or ()), who=who, when=when, source=source, form=form)
