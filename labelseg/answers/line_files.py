"""Files of JSON lines that are only ever appended to: what a person said is never overwritten.

Each line ends with a seal over what it says, so that one that was changed since is told. Lines without one, which people or programs wrote
themselves, are taken as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind, open_to_append
from labelseg.pipeline.files.atomic import sync_folder, write_atomically
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal

T = TypeVar("T")
SEAL = "seal"
SET_ASIDE = ".damaged"


@dataclass(frozen=True)
class BadLine:
    """A line that is not what it should be.

    Attributes:
        path, line: Where it is.
        problem: What is wrong with it.
        cut: Whether the file ends in the middle of it.
        expected: What it should be.
        damaged: Whether it is not what was written, as opposed to about something that the data does not have.
        data: Its bytes.
    """

    path: Path
    line: int
    problem: str
    cut: bool
    expected: str = "an answer"
    damaged: bool = True
    data: bytes = b""

    def __str__(self) -> str:
        """Tell it in one line."""
        end = "the file ends in the middle of it" if self.cut else self.problem
        return f"{self.path} line {self.line}: expected {self.expected}, but {end}. The line stays as it is and counts as none."


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]], expected: str) -> None:
    """Append lines; when this returns they are on the disk. Several processes may append at once.

    A last line that was cut stays a line of its own. Where there is no room the file is left as it was.

    Args:
        path: The file; it is made with its folder if need be.
        lines: JSON values.
        expected: What the file holds, for messages.

    Raises:
        DataError: the path is no file.
        OSError: it cannot be written.
    """
    append_bytes(path, b"".join(_sealed(line) + b"\n" for line in lines), expected)


def append_bytes(path: Path, data: bytes, expected: str) -> None:
    """Append whole lines as they are; see ``append_lines``."""
    if not data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _demand_file(path, expected)
    with _locked(path):
        is_new = not path.exists()
        with open_to_append(path) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                data = data if file.read(1) == b"\n" else b"\n" + data
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    if is_new:
        sync_folder(path.parent)


def read_bytes(path: Path, expected: str) -> bytes:
    """Read a file of lines; empty where there is none.

    Raises:
        DataError: the path is no file.
    """
    _demand_file(path, expected)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def parse_lines(
    data: bytes,
    path: Path,
    parse: Callable[[dict[str, Any]], T],
    expected: str = "an answer",
    unknown: Callable[[T], str] = lambda one: "",
) -> tuple[tuple[T, ...], tuple[BadLine, ...]]:
    """Read lines that hold JSON tables: those that are what they should be, in order, and those that are not.

    Args:
        data: Content of the file.
        path: What bad lines are told with.
        parse: Reads a table, or raises ``ValueError`` with what is wrong with it.
        expected: What a line should be, for messages.
        unknown: Says what is wrong with a line that is well written; one of which it says something is a bad one.
    """
    lines = data.split(b"\n")
    found, bad = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            one = parse(_table(line))
        except ValueError as error:
            bad.append(BadLine(path, number, str(error), number == len(lines), expected, data=line))
            continue
        changed = _change(line)
        if problem := unknown(one) or changed:
            bad.append(BadLine(path, number, problem, False, expected, damaged=bool(changed), data=line))
        else:
            found.append(one)
    return tuple(found), tuple(bad)


def set_aside(path: Path, bad: Iterable[BadLine], expected: str) -> int:
    """Move damaged lines to a file beside, ``answers/ask.jsonl.damaged``, so that the rest can be trusted; nothing of them is lost.

    Args:
        path: The file.
        bad: What was found in it; lines that changed since then stay.
        expected: What the file holds, for messages.

    Returns:
        How many lines were moved.
    """
    with _locked(path):
        lines = read_bytes(path, expected).split(b"\n")
        numbers = [one.line for one in bad if one.damaged and one.line <= len(lines) and lines[one.line - 1] == one.data]
        moved = [lines[number - 1] for number in numbers]
        append_bytes(path.with_name(path.name + SET_ASIDE), b"".join(line + b"\n" for line in moved), expected)
        if numbers:
            kept = [line for number, line in enumerate(lines, start=1) if number not in {*numbers} and line.strip()]
            write_atomically(path, b"".join(line + b"\n" for line in kept))
    return len(moved)


def demand(fits: bool, problem: str) -> None:
    """Refuse a line.

    Raises:
        ValueError: it does not fit.
    """
    if not fits:
        raise ValueError(problem)


def is_id(value: Any) -> bool:
    """Whether a value may be the id of an image: text that a file can be named by."""
    try:
        return isinstance(value, str) and value != "" and bool(os.fsencode(value))
    except UnicodeEncodeError:
        return False


def _table(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    demand(isinstance(values, dict), "it is no table")
    return {name: value for name, value in values.items() if name != SEAL}


def _sealed(line: Mapping[str, Any]) -> bytes:
    """Write a line with a seal at its end."""
    return seal(json.dumps({**line, SEAL: BLANK}, allow_nan=False).encode("ascii"))


def _change(line: bytes) -> str:
    """Say that a line is not what was sealed; empty where it is, or was never sealed."""
    if SEAL in json.loads(line):
        try:
            intact_seal(line)
        except ValueError:
            return "it was changed after it was written; if that was meant, take its 'seal' out"
    return ""


def _locked(path: Path) -> FileLock:
    """The lock of those who write to a file."""
    return FileLock(path.with_name(f".{path.name}.lock"))


def _demand_file(path: Path, expected: str) -> None:
    """Refuse what is no file before it is opened: a pipe would be waited for."""
    if kind := odd_kind(path):
        raise DataError(f"{path}: expected a file of {expected}, found {kind}. Move it away.")
