"""The desk at which people answer: hands out questions, takes answers, and forgets nothing. All of its state is the file of answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from labelseg.answers.answer_files import Answer, AnswerKind, append_answers
from labelseg.answers.ledger import Ledger
from labelseg.answers.questions import Question
from labelseg.errors import LabelsegError

Order = Literal["image", "class"]

REPEAT_SHARE = 0.03
REPEAT_GAP = 20  # answers between a question and its repeat
LEASE_SECONDS = 120.0
AGAIN = ".again"  # ends the id of a repeat


class UnknownQuestionError(LabelsegError, LookupError):
    """There is no such question."""


class AnsweredError(LabelsegError):
    """Somebody has answered the question meanwhile."""


@dataclass(frozen=True)
class Sender:
    """Who sends something, from which browser, and the number that this one thing has, however often it is sent."""

    who: str
    browser: str
    nonce: str


class Desk:
    """Hands out questions and takes answers, of several browsers and people at once.

    Args:
        questions: What is asked, in the order of images.
        path: File of the answers.
        everyone: Whether a person is asked what others answered, too.
        repeat_share: Of the pixels, which are put a second time.
        unknown: Says what is wrong with an answer that is there, such as ``Unknown``: then its pixel is asked again.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        path: Path,
        *,
        everyone: bool = False,
        repeat_share: float = REPEAT_SHARE,
        unknown: Callable[[Answer], str] = lambda answer: "",
    ) -> None:
        self._path = path
        self._everyone = everyone
        self._by_id = {question.id: question for question in questions}
        self._orders: dict[Order, list[Question]] = {
            "image": list(questions),
            "class": sorted(questions, key=lambda question: (question.guess is None, question.guess or "")),
        }
        self._asked = {(question.image, *point) for question in questions for point in question.points}
        self._leases: dict[str, tuple[str, float]] = {}
        self._begun: dict[tuple[str, Order], tuple[int, int]] = {}  # changes of the ledger, and how many questions are done from the start
        self._ledger = Ledger(path, repeat_share, unknown)
        self._lock = RLock()

    def next(self, who: str, browser: str, order: Order = "image") -> tuple[str, Question] | None:
        """Find what a person should answer next: a repeat that is due, else the first open question that no other browser has.

        Returns:
            The id under which it is answered, and the question; None where nothing is open.
        """
        with self._lock:
            self._ledger.refresh()
            still_open = self._open(who, order)
            first = next(still_open, None)
            due = self._ledger.due(who, 0 if first is None else REPEAT_GAP)
            again = None if due is None else self._by_id.get(str(due.more.get("question")))
            if (
                due is not None
                and again is not None
                and again.points == (due.point[1:],)
                and not self._leased(f"{again.id}{AGAIN}", browser)
            ):
                return self._hand_out(f"{again.id}{AGAIN}", again, browser)
            chosen = first
            while chosen is not None and self._leased(chosen.id, browser):
                chosen = next(still_open, None)
            chosen = chosen or first
            return None if chosen is None else self._hand_out(chosen.id, chosen, browser)

    def _hand_out(self, question_id: str, question: Question, browser: str) -> tuple[str, Question]:
        """Note which browser shows a question; it shows one at a time."""
        self._leases = {name: lease for name, lease in self._leases.items() if lease[0] != browser}
        self._leases[question_id] = (browser, time.monotonic() + LEASE_SECONDS)
        return question_id, question

    def question(self, question_id: str) -> Question:
        """Find a question, or a part of a region.

        Raises:
            UnknownQuestionError: there is none.
        """
        root, *parts = question_id.removesuffix(AGAIN).split(".")
        question = self._by_id.get(root)
        for part in parts:
            halves = {half.id.rpartition(".")[2]: half for half in question.halves()} if question and len(question.points) > 1 else {}
            question = halves.get(part)
        if question is None:
            raise UnknownQuestionError(f"there is no question '{question_id[:40]}'. Reload the page.")
        return question

    def beside(self, question_id: str, step: int, order: Order = "image") -> Question:
        """Find the question that stands some places after another one, or before it; it stops at both ends.

        Raises:
            UnknownQuestionError: there is no such question.
        """
        with self._lock:
            self._ledger.refresh()
            here = self.question(question_id)
            leaves = [leaf for root in self._orders[order] for leaf in self._leaves(root)]
            place = next((k for k, leaf in enumerate(leaves) if leaf.id == here.id or leaf.id.startswith(f"{here.id}.")), None)
            if place is None:  # a part of a region that is one again
                place = next(k for k, leaf in enumerate(leaves) if here.id.startswith(f"{leaf.id}."))
            return leaves[min(max(place + step, 0), len(leaves) - 1)]

    def said(self, question: Question, who: str) -> Answer | None:
        """Tell what stands as the answer to a question, where all of its points have one."""
        with self._lock:
            self._ledger.refresh()
            return self._said(question, who)

    def answer(self, question_id: str, label: str | None, sender: Sender, *, ms: int | None = None, instead: str | None = None) -> Answer:
        """Take an answer. When this returns it is on the disk; the same one sent again changes nothing.

        Args:
            question_id: As ``next`` gave it.
            label: Name of the class; None where the person cannot tell.
            sender: Who sends it.
            ms: Milliseconds from question to answer.
            instead: Nonce of the answer that this one replaces, empty where that has none; None where it replaces none.

        Raises:
            UnknownQuestionError: there is no such question.
            AnsweredError: it has an answer, another one than is to be replaced.
        """
        with self._lock:
            self._ledger.refresh()
            question = self.question(question_id)
            before = self._ledger.nonces.get(sender.nonce)
            if before is not None:
                done = self._ledger.written(sender.nonce)
                rest = [point for point in question.points if (question.image, *point) not in done]
                if done and rest and before.more.get("question") == question.id:  # the program ended in the middle of writing a region
                    self._write(question, rest, before.label, sender, before.kind, ms=before.ms)
                return before
            if question_id.endswith(AGAIN):
                return self._write(question, question.points, label, sender, "repeat", ms=ms)
            there = self._said(question, sender.who)
            if there is not None and there.more.get("nonce", "") != instead:
                raise AnsweredError(f"{question.image}, row {question.place[0]}, column {question.place[1]} has been answered meanwhile.")
            points = (
                question.points if there is not None else [point for point in question.points if self._is_open(question, point, sender.who)]
            )
            return self._write(question, points, label, sender, "answer", ms=ms)

    def mixed(self, question_id: str, sender: Sender) -> Question:
        """Take word that a region holds several classes: its halves are asked in its place.

        Raises:
            UnknownQuestionError: there is no such question, or it is a single pixel.
        """
        with self._lock:
            self._ledger.refresh()
            question = self.question(question_id)
            if len(question.points) == 1:
                raise UnknownQuestionError(f"question '{question.id}' is a single pixel: it has one class.")
            if sender.nonce not in self._ledger.nonces and question.id not in self._ledger.split:
                self._write(question, [question.place], None, sender, "mixed")
                self._begun.clear()
            return question

    def flag(self, question_id: str, on: bool, sender: Sender) -> None:
        """Mark the image of a question, or take the mark away.

        Raises:
            UnknownQuestionError: there is no such question.
        """
        with self._lock:
            self._ledger.refresh()
            question = self.question(question_id)
            if sender.nonce not in self._ledger.nonces and self.flagged(question.image) != on:
                self._write(question, [question.place], None, sender, "flag", more={"on": on})

    def flagged(self, image: str) -> bool:
        """Whether an image is marked."""
        return self._ledger.flags.get(image, False)

    def undo(self, sender: Sender) -> tuple[str, Question] | None:
        """Withdraw the last thing that a person said from this browser, else from any: an answer, a repeat, or that a region is mixed.

        Returns:
            The id under which it is answered again, and the question; None where nothing is left to withdraw.
        """
        with self._lock:
            self._ledger.refresh()
            done = self._ledger.nonces.get(sender.nonce)
            if done is None:
                last = self._ledger.last(sender.who, sender.browser)
                if not last:
                    return None
                more = {
                    "undoes": last[0].more["nonce"],
                    "question": str(last[0].more.get("question", "")) + AGAIN * (last[0].kind == "repeat"),
                    "nonce": sender.nonce,
                    "browser": sender.browser,
                }
                lines = [Answer(image=one.image, y=one.y, x=one.x, label=None, who=sender.who, kind="undo", more=more) for one in last]
                append_answers(self._path, lines)
                self._ledger.refresh()
                done = lines[0]
            question_id = str(done.more.get("question", ""))
            return question_id, self.question(question_id)

    def progress(self, who: str) -> dict[str, Any]:
        """Tell how far the work is: points ``done`` of ``total``, median ``seconds`` an answer, seconds ``left``, ``open`` questions."""
        with self._lock:
            self._ledger.refresh()
            done = len(self._ledger.points(who if self._everyone else None) & self._asked)
            still_open = len(self._asked) - done
            if len(self._asked) > len(self._by_id):  # regions
                still_open = sum(1 for _ in self._open(who, "image"))
            seconds = self._ledger.seconds(who)
            left = None if seconds is None else seconds * still_open
            return {"done": done, "total": len(self._asked), "seconds": seconds, "left": left, "open": still_open}

    def _open(self, who: str, order: Order) -> Iterator[Question]:
        """Go through the open questions, parts of regions in place of mixed ones."""
        roots, key = self._orders[order], (who if self._everyone else "", order)
        changes, begun = self._begun.get(key, (-1, 0))
        begun = begun if changes == self._ledger.changes else 0
        while begun < len(roots) and all(self._said(leaf, who) for leaf in self._leaves(roots[begun])):
            begun += 1
        self._begun[key] = (self._ledger.changes, begun)
        for root in roots[begun:]:
            yield from (leaf for leaf in self._leaves(root) if self._said(leaf, who) is None)

    def _leaves(self, question: Question) -> Iterator[Question]:
        """Go through the parts that are asked of a question: itself, unless it is mixed."""
        if question.id in self._ledger.split and len(question.points) > 1:
            for half in question.halves():
                yield from self._leaves(half)
        else:
            yield question

    def _said(self, question: Question, who: str) -> Answer | None:
        """Tell what stands at the place of a question whose points all have an answer."""
        if all(self._answers(question, point, who) for point in question.points):
            return self._answers(question, question.place, who)[-1]
        return None

    def _answers(self, question: Question, point: tuple[int, int], who: str) -> list[Answer]:
        """List what was answered at a point; by this very person where all are asked everything."""
        return self._ledger.answers((question.image, *point), who if self._everyone else None)

    def _is_open(self, question: Question, point: tuple[int, int], who: str) -> bool:
        """Whether a point of a region that is asked needs an answer: it has none, or one that the end of the program cut from others."""
        return not any(line.more.get("question") != question.id for line in self._answers(question, point, who))

    def _leased(self, question_id: str, browser: str) -> bool:
        """Whether another browser shows a question."""
        holder, until = self._leases.get(question_id, (browser, 0.0))
        return holder != browser and until > time.monotonic()

    def _write(
        self,
        question: Question,
        points: Sequence[tuple[int, int]],
        label: str | None,
        sender: Sender,
        kind: AnswerKind,
        *,
        ms: int | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Write a line for each point, all at once."""
        extra = {"question": question.id, "nonce": sender.nonce, "browser": sender.browser, **(more or {})}
        lines = [
            Answer(image=question.image, y=y, x=x, label=label, who=sender.who, ms=ms, guess=question.guess, kind=kind, more=extra)
            for y, x in points
        ]
        append_answers(self._path, lines)
        self._ledger.refresh()
        return lines[0]
