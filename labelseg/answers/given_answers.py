"""Answers of people as something that a stage reads: which there are of each image, and their digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from labelseg.answers.answer_files import answers_path, read_answers
from labelseg.pipeline.files.digests import canonical_json, digest

Said = tuple[int, int, str | None]  # row, column, name of the class; None where the person cannot tell


class GivenAnswers:
    """The answers that count, each file read once.

    Args:
        root: Folder of the workspace.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Mapping[str, tuple[Said, ...]]] = {}

    def of(self, instance: str, image_id: str) -> tuple[Said, ...]:
        """List the answers to what an instance asks in an image, by row and column."""
        if instance not in self._files:
            found: dict[str, list[Said]] = {}
            for (image, y, x), answer in read_answers(answers_path(self._root, instance)).current().items():
                found.setdefault(image, []).append((y, x, answer.label))
            self._files[instance] = {image: tuple(sorted(said, key=lambda one: one[:2])) for image, said in found.items()}
        return self._files[instance].get(image_id, ())

    def digest(self, instance: str, image_ids: Iterable[str], partial: bool = False) -> str:
        """Digest the answers in some images, in their order; ``partial``: what need not wait for them is never taken for what did."""
        said = (canonical_json([image_id, self.of(instance, image_id)]) for image_id in image_ids)
        return digest("some answers" if partial else "answers", *said)
