"""Whether an answer is about something there is: a class and an image of the data, a pixel inside of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from labelseg.answers.answer_files import Answer, Point
from labelseg.errors import LabelsegError
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.protocols import Dataset


class Unknown:
    """Tells what is wrong with an answer, which a person may have edited, or which is older than the data: ``unknown(answer)``.

    Args:
        dataset: The data.
        asked: Pixels that were asked, which lie inside of their images; None looks at no pixel.
    """

    def __init__(self, dataset: Dataset, asked: Collection[Point] | None = None) -> None:
        self._dataset = dataset
        self._classes = frozenset(dataset.classes)
        self._asked = asked
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def __call__(self, answer: Answer) -> str:
        """Say what is wrong with an answer; empty where nothing is."""
        if answer.label is not None and answer.label not in self._classes:
            return f"'{answer.label}' is no class of the data.{suggestion(answer.label, self._dataset.classes)}".rstrip(".")
        if self._asked is not None and answer.point in self._asked:
            return ""
        if not self._dataset.has(answer.image, "image"):
            return f"'{answer.image}' is no image of the data"
        size = self._size(answer.image) if self._asked is not None and answer.kind != "flag" else None
        if size is not None and not (answer.y < size[0] and answer.x < size[1]):
            return f"row {answer.y}, column {answer.x} lies outside of '{answer.image}', which has {size[0]} rows and {size[1]} columns"
        return ""

    def _size(self, image: str) -> tuple[int, int] | None:
        """Rows and columns of an image, read once; None where it cannot be read, which others tell."""
        if image not in self._sizes:
            try:
                scaling = self._dataset.scaling(image)
                height, width = self._dataset.image(image).shape[:2] if scaling is None else scaling.file
                self._sizes[image] = height, width
            except LabelsegError:
                self._sizes[image] = None
        return self._sizes[image]
