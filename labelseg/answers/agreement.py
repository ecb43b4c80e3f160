"""How quick and how sure people are: seconds an answer, what they say of a pixel the second time, what others say of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from labelseg.answers.answer_files import Answer, Answers, Point


@dataclass(frozen=True)
class Person:
    """What one person did.

    Attributes:
        who: The name.
        answers: Pixels that were answered.
        unknown: Of these, those where the person could not tell.
        guessed: Of these, those where a class was guessed, and the person named one.
        right: Of the guessed ones, those where the guess was right.
        seconds: Median time of an answer; None where nobody measured.
        repeats: Pixels that were asked again.
        same: Of these, those with the same answer.
        flags: Images that stand flagged.
    """

    who: str
    answers: int
    unknown: int
    guessed: int
    right: int
    seconds: float | None
    repeats: int
    same: int
    flags: int


@dataclass(frozen=True)
class Pair:
    """How many pixels two people answered both, and how many alike."""

    first: str
    second: str
    both: int
    alike: int


def people(answers: Answers) -> list[Person]:
    """Tell of each person, in the order of the first line of each."""
    lines = answers.standing()
    return [_person(who, [line for line in lines if line.who == who]) for who in dict.fromkeys(line.who for line in lines)]


def agreement(answers: Answers) -> list[Pair]:
    """Compare each two people on the pixels that both answered."""
    lines = answers.standing()
    said = {who: _latest(line for line in lines if line.who == who) for who in dict.fromkeys(line.who for line in lines)}
    pairs = []
    for first, second in combinations(said, 2):
        both = said[first].keys() & said[second].keys()
        if both:
            pairs.append(Pair(first, second, len(both), sum(said[first][point].label == said[second][point].label for point in both)))
    return pairs


def median_seconds(lines: Iterable[Answer]) -> float | None:
    """Compute the median time of an answer; lines of one region count once."""
    timed = [line for line in lines if line.kind == "answer" and line.ms is not None]
    times = {(line.more.get("nonce") or number): line.ms for number, line in enumerate(timed) if line.ms is not None}
    return median(times.values()) / 1000 if times else None


def _latest(lines: Iterable[Answer]) -> dict[Point, Answer]:
    return {line.point: line for line in lines if line.kind == "answer"}


def _person(who: str, lines: Sequence[Answer]) -> Person:
    """Count what one person did; a repeat is compared with what the person said of the pixel before."""
    said = _latest(lines)
    guessed = [line for line in said.values() if line.guess is not None and line.label is not None]
    before: dict[Point, str | None] = {}
    repeats = []
    for line in lines:
        if line.kind == "repeat" and line.point in before:
            repeats.append(before[line.point] == line.label)
        elif line.kind == "answer":
            before[line.point] = line.label
    flags = {line.image: bool(line.more.get("on", True)) for line in lines if line.kind == "flag"}
    return Person(
        who=who,
        answers=len(said),
        unknown=sum(line.label is None for line in said.values()),
        guessed=len(guessed),
        right=sum(line.guess == line.label for line in guessed),
        seconds=median_seconds(lines),
        repeats=len(repeats),
        same=sum(repeats),
        flags=sum(flags.values()),
    )
