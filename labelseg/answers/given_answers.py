"""Answers of people as something that a stage reads: which there are of each image, and their digests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.answers.answer_files import Answer, answers_path, read_answers
from labelseg.errors import DataError
from labelseg.pipeline.files.digests import canonical_json, digest

if TYPE_CHECKING:
    from labelseg.protocols import Images

logger = logging.getLogger(__name__)

Said = tuple[int, int, str | None]  # row, column, name of the class; None where the person cannot tell


class GivenAnswers:
    """The answers that count, each file read once.

    Args:
        root: Folder of the workspace.
        unknown: Says what is wrong with an answer, such as ``Unknown``; what is no answer to be used is told by a warning.
    """

    def __init__(self, root: Path, unknown: Callable[[Answer], str]) -> None:
        self._root = root
        self._unknown = unknown
        self._files: dict[str, Mapping[str, tuple[Said, ...]]] = {}

    def of(self, instance: str, image_id: str) -> tuple[Said, ...]:
        """List the answers to what an instance asks in an image, by row and column."""
        if instance not in self._files:
            found: dict[str, list[Said]] = {}
            there = read_answers(answers_path(self._root, instance), self._unknown)
            for line in there.complaints(most=3):
                logger.warning("%s", line)
            for (image, y, x), answer in there.current().items():
                found.setdefault(image, []).append((y, x, answer.label))
            self._files[instance] = {image: tuple(sorted(said, key=lambda one: one[:2])) for image, said in found.items()}
        return self._files[instance].get(image_id, ())

    def placed(self, instance: str, image_id: str, dataset: Images) -> tuple[Said, ...]:
        """List the answers in an image by the pixels that it is worked on at; they were given by those of its file."""
        said = self.of(instance, image_id)
        try:
            scaling = dataset.scaling(image_id) if said else None
        except DataError:
            return said  # who works on the image will tell
        return said if scaling is None else tuple((*scaling.to_work(y, x), name) for y, x, name in said)

    def digest(self, instance: str, image_ids: Iterable[str], partial: bool = False) -> str:
        """Digest the answers in some images, in their order; ``partial``: what need not wait for them is never taken for what did."""
        said = (canonical_json([image_id, self.of(instance, image_id)]) for image_id in image_ids)
        return digest("some answers" if partial else "answers", *said)
