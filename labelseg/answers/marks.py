"""What people said of masks, as JSON lines in ``marks/`` beside ``labelseg.toml``: good, bad, or to be mended.

A file belongs to an instance and a split, such as ``marks/propagate~train.jsonl``, and is only ever appended to: the last line of an image
counts, and one whose mark is null takes back what was said. A line is

    {"image": "farm/001", "mark": "fix", "who": "anna", "when": "2026-01-31T10:00:00+00:00"}

and a last key ``seal``, by which a change is told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelseg.answers.line_files import BadLine, append_lines, demand, is_id, parse_lines, read_bytes
from labelseg.errors import UsageError

MARKS = ("good", "bad", "fix")
FOLDER = "marks"
EXPECTED = "marks"


def marks_path(root: Path, instance: str, split: str) -> Path:
    """Name the file of the marks on what an instance made in a split, in the workspace at ``root``."""
    return Path(root) / FOLDER / f"{quote(instance, safe='@')}~{quote(split, safe='')}.jsonl"


def add_mark(path: Path, image: str, mark: str | None, who: str) -> None:
    """Append what somebody said of an image; None takes back what was said.

    Raises:
        UsageError: it is no mark.
        DataError: the path is no file.
        OSError: it cannot be written.
    """
    if mark is not None and mark not in MARKS:
        raise UsageError(f"'{mark}' is no mark. Say one of: {', '.join(MARKS)}.")
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    append_lines(path, [{"image": image, "mark": mark, "who": who, "when": when}], EXPECTED)


def read_marks(path: Path) -> tuple[dict[str, str], tuple[BadLine, ...]]:
    """Read what was said last of each image, and tell which lines are no marks: they stay and count as none.

    Raises:
        DataError: the path is no file.
    """
    lines, bad = parse_lines(read_bytes(path, EXPECTED), path, _mark, "a mark")
    last = dict(lines)
    return {image: mark for image, mark in last.items() if mark is not None}, bad


def _mark(values: dict[str, Any]) -> tuple[str, str | None]:
    """Read a line.

    Raises:
        ValueError: it is no mark.
    """
    demand(is_id(values.get("image")), "'image' is no id of an image")
    demand(values.get("mark", "") in (None, *MARKS), f"'mark' is none of {', '.join(MARKS)}, null")
    return values["image"], values["mark"]
