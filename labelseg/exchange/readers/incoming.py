"""What a reader of a format gives: one mask after the other, and the classes of the data that their names mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.class_ids import BACKGROUND, IGNORE
from labelseg.errors import DataError
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = ("ignored", f"ignored ({IGNORE})", "ignore", "void")  # names of what is 255


@dataclass(frozen=True)
class Incoming:
    """A mask that a file holds.

    Attributes:
        name: The image as the file names it.
        where: The file and the place in it, for messages.
        read: Takes the (H, W) of the image and returns the mask, (H, W) uint8 ids of the data, 255 where nothing is known. Raises
            ``DataError`` where it cannot be read or does not fit.
        who, when: Who made it, and the time in ISO 8601, where the file tells.
    """

    name: str
    where: str
    read: Callable[[tuple[int, int]], NDArray[Any]]
    who: str = ""
    when: str = ""


@dataclass(frozen=True)
class ImageTags:
    """What a file says to be in an image.

    Attributes:
        name: The image as the file names it.
        where: The file and the place in it, for messages.
        labels: Names of classes.
    """

    name: str
    where: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ClassNames:
    """The classes of the data, asked by the names that a file uses.

    Attributes:
        classes: Names by id.
        others: Names in the file that are none of them, and are passed over: what they cover is blank.
    """

    classes: tuple[str, ...]
    others: frozenset[str] = frozenset()

    @property
    def blank(self) -> int:
        """What a pixel is that no region covers: background where the data has one, else unknown."""
        return 0 if self.classes[0] == BACKGROUND else IGNORE

    def id_of(self, name: str, where: str) -> int:
        """Find the id of a class.

        Raises:
            DataError: the data has no such class; the message begins with ``where``.
        """
        if name in self.classes:
            return self.classes.index(name)
        if name in IGNORED:
            return IGNORE
        if name == BACKGROUND or name in self.others:
            return self.blank
        raise DataError(f"{where}: '{name}' is no class of the data.{suggestion(name, self.classes)}")

    def translated(self, mask: NDArray[Any], names: Mapping[int, str], where: str) -> NDArray[np.uint8]:
        """Turn the ids of a file into those of the data.

        Args:
            mask: (H, W) whole numbers from 0 to 255; 255 stays.
            names: Id in the file -> name of the class.
            where: Begins a message.

        Returns:
            (H, W) uint8.

        Raises:
            DataError: an id has no name, or a name is no class.
        """
        table = np.full(IGNORE + 1, IGNORE, np.uint8)
        for number in np.unique(mask).tolist():
            if number == IGNORE and number not in names:
                continue
            if number not in names:
                raise DataError(f"{where}: value {number} is no class: expected {_listed(sorted(names))} or {IGNORE}.")
            table[number] = self.id_of(names[number], where)
        return table[mask]


def demand_size(found: Sequence[int], size: tuple[int, int], where: str) -> None:
    """Refuse a mask of another size than its image.

    Raises:
        DataError: the sizes differ.
    """
    if tuple(found) != size:
        raise DataError(
            f"{where}: expected the size of its image, {size[0]} x {size[1]}, got {' x '.join(map(str, found))} (height x width)."
        )


def _listed(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
