"""What the page of ``labelseg view`` can ask for: images page by page, their pictures, and marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from labelseg.answers.marks import MARKS, add_mark, read_marks
from labelseg.errors import DataError
from labelseg.pages.gallery.choice import ORDERS
from labelseg.pages.gallery.panels import Panels
from labelseg.pages.gallery.records import class_list, image_record, panel_record
from labelseg.pages.parts.layers import photo_jpeg, shrunk_size
from labelseg.pages.serving.messages import BadRequestError, NotFoundError
from labelseg.quality.kept import ImageQuality

PER_PAGE = 24
LONGEST = 360  # pixels of the longer side of a picture
KEPT = 256  # pictures of each kind: some pages
UNMARKED = "none"


class ViewService:
    """What the page can ask for.

    Args:
        panels: What the stages made of the images.
        measured: What was measured of the images; those that are missing have no quality.
        marks: File of the marks.
        title: What the page is called.
        who: Who marks.
    """

    def __init__(self, panels: Panels, measured: Sequence[ImageQuality], marks: Path, title: str, who: str) -> None:
        known = {image.id: image for image in measured}
        self._panels = panels
        self._images = [known.get(image_id) or ImageQuality(image_id, "") for image_id in panels.ids]
        self._numbers = {image.id: number for number, image in enumerate(self._images)}
        self._path, self._title, self._who = marks, title, who
        self._marks, self.bad_marks = read_marks(marks)
        self._marking = Lock()
        self._held: dict[int, frozenset[int]] = {}
        self.photo = lru_cache(KEPT)(self._photo)
        self.panel = lru_cache(KEPT)(self._panel)

    def setup(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Tell what stays the same."""
        orders = [name for name, value in ORDERS.items() if any(value(image) is not None for image in self._images)]
        unknown = sum(image.quality is None for image in self._images)
        told = {"title": self._title, "classes": class_list(self._panels.classes), "stages": self._panels.stages, "orders": orders}
        return {**told, "images": len(self._images), "unknown": unknown, "troubles": self._panels.troubles}

    def images(self, values: Mapping[str, str]) -> dict[str, Any]:
        """List the images of a page.

        Args:
            values: ``sort``, one of the orders or ``id``; ``class``, an id, and ``mark``, that images must have; ``page`` from 0.

        Raises:
            BadRequestError: one of them is something else.
        """
        sort, page = values.get("sort") or "id", _number(values, "page", 0)
        if sort != "id" and sort not in ORDERS:
            raise BadRequestError(f"'{sort[:20]}' is no order.")
        wanted, mark = (_number(values, "class", 0) if values.get("class") else None), values.get("mark") or ""
        if mark and mark not in (*MARKS, UNMARKED):
            raise BadRequestError(f"'{mark[:20]}' is no mark.")
        found = [
            image
            for image in self._images
            if (not mark or self._marks.get(image.id, UNMARKED) == mark) and (wanted is None or wanted in self._classes(image))
        ]
        if sort != "id":
            value = ORDERS[sort]
            found.sort(key=lambda image: ((known := value(image)) is None, known or 0.0, image.id))
        pages = max(-(-len(found) // PER_PAGE), 1)
        page = min(page, pages - 1)
        shown = found[page * PER_PAGE : (page + 1) * PER_PAGE]
        return {
            "images": [self._record(image) for image in shown],
            "found": len(found),
            "page": page,
            "pages": pages,
            "marks": self._counts(),
        }

    def mark(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Mark an image, or take the mark away; when this returns it is on the disk.

        Raises:
            NotFoundError: there is no such image.
            BadRequestError: it is no mark.
        """
        mark, number = values.get("mark"), values.get("number")
        if not isinstance(number, int) or isinstance(number, bool) or (mark is not None and mark not in MARKS):
            raise BadRequestError("expected the number of an image, and a mark.")
        image = self._image(number)
        with self._marking:
            add_mark(self._path, image.id, mark, self._who)
            if mark is None:
                self._marks.pop(image.id, None)
            else:
                self._marks[image.id] = mark
        return {"number": number, "mark": mark, "marks": self._counts()}

    def panels(self, number: int, stages: Sequence[str]) -> dict[str, Any]:
        """Draw what stages made of an image.

        Raises:
            NotFoundError: there is no such image, or one of the stages is none.
        """
        return {"panels": [self.panel(number, stage) for stage in dict.fromkeys(stages)]}

    def listed(self, mark: str) -> str:
        """List the ids of the images with a mark, one a line, as a split list is written.

        Raises:
            NotFoundError: there is no such mark.
        """
        if mark not in MARKS:
            raise NotFoundError(f"there is no mark '{mark[:20]}'.")
        return "".join(f"{image.id}\n" for image in self._images if self._marks.get(image.id) == mark)

    def _photo(self, number: int) -> bytes:
        """Encode the photo of an image, small.

        Raises:
            NotFoundError: there is no such image.
            DataError: it cannot be read.
        """
        pixels = self._panels.photo(self._image(number).id)
        return photo_jpeg(pixels, shrunk_size((pixels.shape[0], pixels.shape[1]), LONGEST))

    def _panel(self, number: int, stage: str) -> dict[str, Any]:
        """Draw what a stage made of an image.

        Raises:
            NotFoundError: there is no such image, or no such stage.
        """
        image = self._image(number)
        if stage not in self._panels.stages:
            raise NotFoundError("there is no such stage.")
        return panel_record(self._panels.panel(stage, image.id, (LONGEST, LONGEST)))

    def _record(self, image: ImageQuality) -> dict[str, Any]:
        """Write an image of a page."""
        number = self._numbers[image.id]
        record = image_record(image, number, self._tags(image.id), self._panels.classes)
        return {**record, "photo": f"photo/{number}", "mark": self._marks.get(image.id)}

    def _tags(self, image_id: str) -> list[int] | None:
        """Ids of the classes that an image is said to hold; None where that cannot be told."""
        try:
            return self._panels.tags(image_id)
        except DataError:
            return None

    def _classes(self, image: ImageQuality) -> frozenset[int]:
        """Ids of the classes that an image has to do with, read once."""
        number = self._numbers[image.id]
        if number not in self._held:
            tags = None if image.classes else self._tags(image.id)  # what was measured names the tagged ones too
            self._held[number] = frozenset(image_record(image, number, tags, self._panels.classes)["classes"])
        return self._held[number]

    def _counts(self) -> dict[str, int]:
        """Count the images with each mark."""
        counts = Counter(self._marks.get(image.id) for image in self._images)
        return {mark: counts[mark] for mark in MARKS}

    def _image(self, number: int) -> ImageQuality:
        if not 0 <= number < len(self._images):
            raise NotFoundError("there is no such image.")
        return self._images[number]


def _number(values: Mapping[str, str], name: str, otherwise: int) -> int:
    """Read a whole number of at least 0."""
    text = values.get(name) or str(otherwise)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequestError(f"'{name}' is no whole number.")
    return int(text)
