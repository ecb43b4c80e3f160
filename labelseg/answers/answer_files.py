"""Answers to questions about pixels, as JSON lines in ``answers/`` beside ``labelseg.toml``: the one module that knows the format.

A file belongs to the instance that asked, such as ``answers/labor-select@1.jsonl``, and is only ever appended to: another answer to the
same pixel, or the withdrawal of one, is another line. Nothing else in a workspace writes or removes these files. A line is

    {"image": "target:12", "y": 40, "x": 7, "class": "cat", "who": "anna", "when": "2026-01-31T10:00:00+00:00", "ms": 900, "guess": "dog"}

``y`` and ``x`` are row and column of the image itself, turned upright; ``class`` is a name, or null where the person cannot tell. ``kind``
is there where it is no answer: ``undo`` withdraws the last answer of the same person to the pixel, or all lines that have the nonce which
its key ``undoes`` names, ``repeat`` is a second answer that only tells how sure a person is, ``mixed`` says that a region holds several
classes, ``flag`` marks an image. A line that may be named has a ``nonce``; lines of one region share it. Keys that are not known here are
kept. The last key of a line that was written here is ``seal``, by which a change is told; a line without one is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from labelseg.answers.line_files import BadLine, append_lines, demand, is_id, parse_lines, read_bytes

AnswerKind = Literal["answer", "undo", "repeat", "mixed", "flag"]
Point = tuple[str, int, int]  # id of an image, row and column of a pixel in it

FOLDER = "answers"
KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)
_KEYS = ("image", "y", "x", "class", "who", "when", "ms", "guess", "kind")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person said of a pixel.

    Attributes:
        image: Id of the image.
        y, x: Row and column of the pixel in the image.
        label: Name of its class; None where the person cannot tell.
        who: The person, or what stands for one.
        when: ISO 8601 with the zone; empty takes the time at which the answer is written.
        ms: Milliseconds from question to answer; None where nobody measured.
        guess: Name of the class that was guessed before; None where none was shown.
        kind: ``answer``, or what else the line is.
        more: Other keys, as JSON.
    """

    image: str
    y: int
    x: int
    label: str | None
    who: str = ""
    when: str = ""
    ms: int | None = None
    guess: str | None = None
    kind: AnswerKind = "answer"
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """Image, row and column: what is asked."""
        return self.image, self.y, self.x

    @property
    def nonce(self) -> str:
        """What the lines of one act share; empty where they have nothing."""
        return str(self.more.get("nonce") or "")


@dataclass(frozen=True)
class Answers:
    """The content of a file: all lines that are answers, in order, and those that are not."""

    lines: tuple[Answer, ...]
    bad: tuple[BadLine, ...]

    def complaints(self, most: int = 10) -> list[str]:
        """Tell the first of the lines that are no answers, and how many there are where that is more."""
        rest = [f"{self.bad[0].path}: {len(self.bad):,} lines are no answers and count as none."] if len(self.bad) > most else []
        return [*map(str, self.bad[:most]), *rest]

    def standing(self) -> list[Answer]:
        """List the lines that were not withdrawn, in order, without the withdrawals."""
        kept: dict[int, Answer] = {}
        places: dict[tuple[str, Point], list[int]] = {}
        named: dict[tuple[str, str], list[int]] = {}
        for number, line in enumerate(self.lines):
            if line.kind != "undo":
                kept[number] = line
                places.setdefault((line.who, line.point), []).append(number)
                named.setdefault((line.who, line.nonce), []).append(number)
                continue
            if "undoes" in line.more:
                gone = named.get((line.who, str(line.more["undoes"])), [])
            else:
                own = places.get((line.who, line.point), [])
                gone = [place for place in own if place in kept and kept[place].kind == "answer"][-1:]
            for place in gone:
                kept.pop(place, None)
        return list(kept.values())

    def current(self) -> dict[Point, Answer]:
        """Map each pixel to the answer that counts: the last one that was not withdrawn."""
        return {line.point: line for line in self.standing() if line.kind == "answer"}


def answers_path(root: Path, instance: str) -> Path:
    """Name the file of the answers to what an instance asks, in the workspace at ``root``."""
    return Path(root) / FOLDER / f"{instance}.jsonl"


def answered_bytes(root: Path, instance: str) -> int:
    """Count the bytes of the file of answers, 0 where there is none: where it grew somebody answered, whatever clocks say."""
    path = answers_path(root, instance)
    return path.stat().st_size if path.is_file() else 0


def append_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Append answers, as ``append_lines`` does.

    Raises:
        DataError: the path is no file.
        OSError: it cannot be written.
    """
    append_lines(path, map(_values, answers), "answers")


def read_answers(path: Path, unknown: Callable[[Answer], str] = lambda answer: "") -> Answers:
    """Read a file of answers; empty where there is none. What cannot be read is told and costs no other line.

    Args:
        path: The file.
        unknown: As for ``parse_answers``.

    Raises:
        DataError: the path is no file.
    """
    return parse_answers(read_bytes(path, "answers"), path, unknown)


def parse_answers(data: bytes, path: Path, unknown: Callable[[Answer], str] = lambda answer: "") -> Answers:
    """Read the lines of a file of answers.

    Args:
        data: The lines.
        path: Of the file, which bad lines are told with.
        unknown: Says what is wrong with an answer that is well written, such as ``Unknown``; one that says something makes a bad line.
    """
    return Answers(*parse_lines(data, path, _answer, unknown=unknown))


def _values(answer: Answer) -> dict[str, Any]:
    """Return what is written of an answer."""
    values: dict[str, Any] = {"image": answer.image, "y": answer.y, "x": answer.x, "class": answer.label}
    values |= {"who": answer.who, "when": answer.when or datetime.now(UTC).isoformat(timespec="milliseconds")}
    values |= {"ms": answer.ms, "guess": answer.guess}
    values |= {} if answer.kind == "answer" else {"kind": answer.kind}
    return values | {name: value for name, value in answer.more.items() if name not in values}


def _answer(values: dict[str, Any]) -> Answer:
    """Read a line.

    Raises:
        ValueError: it is no answer.
    """
    demand(is_id(values.get("image")), "'image' is no id of an image")
    for name in ("y", "x"):
        demand(_is_count(values.get(name)), f"'{name}' is no whole number of at least 0")
    for name in ("class", "guess"):
        demand(name == "guess" or name in values, f"'{name}' is missing")
        demand(isinstance(values.get(name), str | None), f"'{name}' is neither the name of a class nor null")
    for name in ("who", "when"):
        demand(isinstance(values.get(name, ""), str), f"'{name}' is no text")
    demand(values.get("ms") is None or _is_count(values["ms"]), "'ms' is no whole number of at least 0")
    demand(values.get("kind", "answer") in KINDS, f"'kind' is none of {', '.join(KINDS)}")
    return Answer(
        image=values["image"],
        y=values["y"],
        x=values["x"],
        label=values["class"],
        who=values.get("who", ""),
        when=values.get("when", ""),
        ms=values.get("ms"),
        guess=values.get("guess"),
        kind=values.get("kind", "answer"),
        more={name: value for name, value in values.items() if name not in _KEYS},
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
