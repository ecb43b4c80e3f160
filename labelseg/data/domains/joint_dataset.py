"""A dataset with further ones beside it, each under a name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.errors import DataError, UsageError
from labelseg.suggestions import unknown_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.protocols import Dataset, Kind
    from labelseg.working_size import Scaling

MARK = ":"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class JointDataset:
    """A data set, whose ids and splits stay as they are, and others, whose ids and splits have their name before: ``target:train``.

    Attributes:
        main: The data set that the workspace began with.
        others: Name -> another one, of the same classes.
    """

    main: Dataset
    others: Mapping[str, Dataset]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""
        return self.main.classes

    @property
    def parts(self) -> list[Dataset]:
        """The data sets themselves, the main one first."""
        return [self.main, *self.others.values()]

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.main.has_background

    def splits(self) -> list[str]:
        """Names of the splits, those of the others before the last one, which holds all images of the main data set."""
        *own, last = self.main.splits()
        return [*own, *(f"{name}{MARK}{split}" for name, other in self.others.items() for split in other.splits()), last]

    def ids(self, split: str) -> list[str]:
        """Sorted ids of a split.

        Raises:
            UsageError: there is no such split.
            DataError: it is empty, its list is wrong, or an id might be one of another data set.
        """
        name, inner, there = self._part(split)
        if name:
            try:
                return [f"{name}{MARK}{image_id}" for image_id in there.ids(inner)]
            except UsageError:
                pass  # told of all splits below
        elif split in self.main.splits():
            found = self.main.ids(split)
            for image_id in found:
                if self._part(image_id)[0]:
                    name = self._part(image_id)[0]
                    raise DataError(f"image '{image_id}': its name begins like those of the data set '{name}'. Rename the file.")
            return found
        raise UsageError(unknown_split(split, self.splits()))

    def matches(self, name: str, exactly: bool = False) -> list[str]:
        """List the ids that a name in a list may mean."""
        part, inner, there = self._part(name)
        return [self._joined(part, image_id) for image_id in there.matches(inner, exactly)]

    def resolve(self, name: str, where: str) -> str:
        """Find the one id that a name in a list means; an error begins with ``where``.

        Raises:
            DataError: no image or several images have that name.
        """
        part, inner, there = self._part(name)
        return self._joined(part, there.resolve(inner, where))

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether there is an image, tags or a mask under this id."""
        _, inner, there = self._part(image_id)
        return there.has(inner, kind)

    def identity(self, image_id: str, kind: Kind) -> Path | str | tuple[Path, str]:
        """What identifies the content."""
        _, inner, there = self._part(image_id)
        return there.identity(inner, kind)

    def image_files(self, image_ids: Iterable[str]) -> None:
        """Each data set has its own way of identifying images."""

    def image(self, image_id: str) -> NDArray[Any]:
        """Read an image, (H, W, 3) uint8 RGB."""
        _, inner, there = self._part(image_id)
        return there.image(inner)

    def tags(self, image_id: str) -> tuple[int, ...] | None:
        """Sorted ids of the classes in the image; None when unknown."""
        _, inner, there = self._part(image_id)
        return there.tags(inner)

    def mask(self, image_id: str) -> NDArray[Any]:
        """Read the true mask, (H, W) uint8 class ids, 255 = ignore."""
        _, inner, there = self._part(image_id)
        return there.mask(inner)

    def scaling(self, image_id: str) -> Scaling | None:
        """The size of the file of an image and its working size; None where they are the same."""
        _, inner, there = self._part(image_id)
        return there.scaling(inner)

    def at_file_size(self) -> JointDataset:
        """The same images and masks at the size of their files."""
        return JointDataset(self.main.at_file_size(), {name: other.at_file_size() for name, other in self.others.items()})

    def _part(self, name: str) -> tuple[str, str, Dataset]:
        """Take an id or a split apart: data set, name in it, and the data set itself; that of the main one is empty."""
        part, mark, inner = name.partition(MARK)
        if mark and part in self.others:
            return part, inner, self.others[part]
        return "", name, self.main

    @staticmethod
    def _joined(part: str, image_id: str) -> str:
        return f"{part}{MARK}{image_id}" if part else image_id


def check_name(name: str, taken: Sequence[str]) -> None:
    """Refuse a name that no data set can have.

    Args:
        name: As it was given.
        taken: Keys that mean something else in the same table.

    Raises:
        UsageError: it holds other characters than letters, digits, ``_`` and ``-``, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"data set '{name}': expected a name of letters, digits, _ and -, such as target.")
    if name in taken:
        raise UsageError(f"data set '{name}': this word means something else under [data]. Choose another name, such as target.")


def match_classes(classes: Sequence[str], expected: Sequence[str], where: str) -> None:
    """Refuse a list of classes that does not name the same ones as that of the main data set; their order may differ.

    Raises:
        DataError: naming what differs.
    """
    missing = [name for name in expected if name not in classes]
    unknown = [name for name in classes if name not in expected]
    told = [f"{text} {', '.join(names)}" for text, names in (("it lacks", missing), ("only it has", unknown)) if names]
    if told:
        raise DataError(
            f"{where}: its classes differ from those of [data]: {'; '.join(told)}. Give both the same classes, "
            "and 255 in masks where a class of one is none of the other."
        )
