"""What the page can ask for: small requests in plain values, all of which may be sent twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelseg.answers.desk import Desk, Order, Sender, UnknownQuestionError
from labelseg.answers.questions import Question
from labelseg.data.formats.palette import voc_palette
from labelseg.pages.annotation.page_pictures import Pictures
from labelseg.pages.serving.messages import BadRequestError

MOST_LETTERS = 64
MOST_MS = 24 * 3600 * 1000


class Service:
    """What the page can ask for.

    Args:
        desk: Hands out questions and takes answers.
        questions: All questions, image by image.
        pictures: Photos and masks.
        classes: Class names by id.
        title: What the page is called.
        who: The person where a request names none.
    """

    def __init__(self, desk: Desk, questions: Sequence[Question], pictures: Pictures, classes: Sequence[str], title: str, who: str) -> None:
        self._desk = desk
        self._pictures = pictures
        self._classes = list(classes)
        self._title = title
        self._who = who
        self._images = list(dict.fromkeys(question.image for question in questions))
        self._numbers = {image: number for number, image in enumerate(self._images)}

    def setup(self, values: dict[str, Any]) -> dict[str, Any]:
        """Tell what stays the same: title, person, and the classes with their colours."""
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in voc_palette()[: len(self._classes)].tolist()]
        classes = [{"name": name, "colour": colour} for name, colour in zip(self._classes, colours, strict=True)]
        return {"title": self._title, "who": self._person(values), "classes": classes, "images": len(self._images)}

    def next(self, values: dict[str, Any]) -> dict[str, Any]:
        """Hand out the next question."""
        who = self._person(values)
        found = self._desk.next(who, _text(values, "browser"), _order(values))
        return self._told(who, *(found or ("", None)))

    def move(self, values: dict[str, Any]) -> dict[str, Any]:
        """Go some places on in the list, or back, or stay where one is."""
        who, step = self._person(values), _number(values, "step", -1000, 1000) or 0
        question = self._desk.beside(_text(values, "question"), step, _order(values))
        return self._told(who, question.id, question)

    def answer(self, values: dict[str, Any]) -> dict[str, Any]:
        """Take an answer, and hand out the next question."""
        label = values.get("class")
        if label is not None and label not in self._classes:
            raise BadRequestError(f"'{str(label)[:MOST_LETTERS]}' is no class of the data.")
        instead = values.get("instead")
        if instead is not None and not isinstance(instead, str):
            raise BadRequestError("'instead' is no text.")
        sender = self._sender(values)
        self._desk.answer(_text(values, "question"), label, sender, ms=_number(values, "ms", 0, MOST_MS), instead=instead)
        return self.next(values)

    def undo(self, values: dict[str, Any]) -> dict[str, Any]:
        """Withdraw the last thing that was said, and show its question."""
        sender = self._sender(values)
        return self._told(sender.who, *(self._desk.undo(sender) or ("", None)))

    def mixed(self, values: dict[str, Any]) -> dict[str, Any]:
        """Take word that a region is mixed, and hand out the next question."""
        self._desk.mixed(_text(values, "question"), self._sender(values))
        return self.next(values)

    def flag(self, values: dict[str, Any]) -> dict[str, Any]:
        """Mark an image or take the mark away; the question stays."""
        question, sender = _text(values, "question"), self._sender(values)
        self._desk.flag(question, values.get("on") is not False, sender)
        return self._told(sender.who, question, self._desk.question(question))

    def picture(self, kind: str, number: int) -> tuple[bytes, str] | None:
        """Encode the photo or the mask of an image; None where there is none.

        Raises:
            UnknownQuestionError: there is no such image.
            DataError: it cannot be read.
        """
        if not 0 <= number < len(self._images):
            raise UnknownQuestionError("there is no such image.")
        image = self._images[number]
        return self._pictures.photo(image) if kind == "photo" else self._pictures.overlay(image)

    def conflict(self, values: dict[str, Any]) -> dict[str, Any]:
        """Tell how a question stands that somebody has answered meanwhile."""
        question = self._desk.question(_text(values, "question"))
        return self._told(self._person(values), question.id, question)

    def _told(self, who: str, question_id: str, question: Question | None) -> dict[str, Any]:
        """Write a question for the page, with how far the work is."""
        told: dict[str, Any] = {"progress": self._desk.progress(who), "question": None}
        if question is not None:
            said = None if question_id != question.id else self._desk.said(question, who)
            told["question"] = {
                "id": question_id,
                "image": question.image,
                "number": self._numbers[question.image],
                "place": question.place,
                "points": question.points if len(question.points) > 1 else [],
                "guess": question.guess if question.guess in self._classes else None,
                "said": None if said is None else {"class": said.label, "nonce": str(said.more.get("nonce", ""))},
                "flagged": self._desk.flagged(question.image),
            }
        return told

    def _person(self, values: dict[str, Any]) -> str:
        return _text(values, "who") if values.get("who") else self._who

    def _sender(self, values: dict[str, Any]) -> Sender:
        return Sender(self._person(values), _text(values, "browser"), _text(values, "nonce"))


def _text(values: dict[str, Any], name: str) -> str:
    """Read a short text."""
    value = values.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MOST_LETTERS or not value.isprintable():
        raise BadRequestError(f"'{name}' is no text of 1 to {MOST_LETTERS} letters.")
    return value


def _number(values: dict[str, Any], name: str, low: int, high: int) -> int | None:
    """Read a whole number; None where there is none."""
    value = values.get(name)
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 12:
        value = int(value)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high):
        raise BadRequestError(f"'{name}' is no whole number from {low} to {high}.")
    return value


def _order(values: dict[str, Any]) -> Order:
    """Read in which order questions are handed out."""
    return "class" if values.get("order") == "class" else "image"
