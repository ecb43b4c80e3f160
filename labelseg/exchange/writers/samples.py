"""What a writer of a format is given: where to write, which classes there are, and one mask after the other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from PIL import Image

from labelseg.class_ids import BACKGROUND, IGNORE
from labelseg.data.folder.images import EXIF_ORIENTATION, UNREADABLE, opened
from labelseg.errors import DataError
from labelseg.file_kinds import naming
from labelseg.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = "ignored"  # what CVAT and VOC call pixels of 255
COPIED = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}  # what every other tool reads as it is


@dataclass(frozen=True)
class Picture:
    """The image of a mask.

    Attributes:
        path: Its file, or None where it is drawn.
        read: Reads it upright, (H, W, 3) uint8.
    """

    path: Path | None
    read: Callable[[], NDArray[Any]]

    @property
    def suffix(self) -> str:
        """The suffix of its file as it is, or ``.png``."""
        return self.path.suffix if self.path is not None else ".png"

    def copied_suffix(self) -> str:
        """The suffix of a copy that every tool reads alike.

        It is ``.png`` where the file has to be saved anew: turned by EXIF, or of another kind.
        """
        return self.suffix.lower() if self._is_copied() else ".png"

    def _is_copied(self) -> bool:
        """Whether every tool reads the file as it is."""
        suffix = self.suffix.lower()
        return self.path is not None and suffix in COPIED and _is_plain(self.path, COPIED[suffix])

    def save(self, folder: Path, name: str, suffix: str = "") -> str:
        """Copy the image into a folder, or save it anew as PNG where ``copied_suffix`` says so or another suffix is asked for.

        Args:
            folder: Where to.
            name: Relative path below it, without suffix.
            suffix: ``.png`` to have it so in any case; empty chooses.

        Returns:
            The relative path with suffix.
        """
        own = self.copied_suffix()
        file = f"{name}{suffix or own}"
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            if self.path is not None and suffix in ("", own) and self._is_copied():
                shutil.copyfile(self.path, path)
            else:
                Image.fromarray(self.read()).save(path, format="PNG")
        return file


@dataclass(frozen=True)
class Sample:
    """One mask with its image.

    Attributes:
        id: Id of the image.
        split: Name of its split.
        mask: (H, W) uint8 class ids, 255 where nothing is known.
        picture: The image.
    """

    id: str
    split: str
    mask: NDArray[Any]
    picture: Picture

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def file_name(self) -> str:
        """Path of the image below the folder of images, as far as its id tells."""
        path = self.picture.path
        # The id of one of two files of one stem keeps the suffix.
        whole = path is not None and path.name == self.id.rpartition("/")[2].rpartition(":")[2]
        return self.id if whole else f"{self.id}{self.picture.suffix}"


@dataclass(frozen=True)
class Target:
    """Where a format is written to, and what all masks have in common.

    Attributes:
        folder: An empty folder of its own.
        classes: Names by id, those that the masks were made with.
        splits: In order.
        name: What the folder will be called.
        polygons: Write polygons where run lengths are usual.
        images: Copy images where a format can do without.
        common_suffix: Suffix that all images are saved with, where a format asks for one.
    """

    folder: Path
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    name: str
    polygons: bool = False
    images: bool = False
    common_suffix: str = ""

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.classes[0] == BACKGROUND

    @property
    def things(self) -> dict[int, str]:
        """Id -> name of the classes beside the background."""
        return {class_id: name for class_id, name in enumerate(self.classes) if class_id or not self.has_background}

    @property
    def ignored(self) -> str:
        """Name of a class that stands for 255: ``ignored``, or another one where a class is called so."""
        return IGNORED if IGNORED not in self.classes else f"{IGNORED} ({IGNORE})"


class Writer(Protocol):
    """Writes masks in one format."""

    def add(self, sample: Sample) -> None:
        """Write one mask."""

    def finish(self) -> None:
        """Write what is known only when all masks are."""

    def losses(self) -> list[str]:
        """Say what of the masks the format did not take, a line each."""


@dataclass
class UnknownPixels:
    """Counts pixels of 255 that a format has no word for."""

    format: str
    become: str
    pixels: int = 0
    images: int = 0

    def count(self, sample: Sample) -> None:
        """Count those of a mask."""
        found = int((sample.mask == IGNORE).sum())
        self.pixels += found
        self.images += found > 0

    def losses(self) -> list[str]:
        """Say how many there were; nothing where there were none."""
        if not self.pixels:
            return []
        what = f"{counted(self.pixels, 'pixel')} of {IGNORE} (unknown) in {counted(self.images, 'mask')}"
        return [f"{self.format} has no word for unknown pixels: {what} {self.become}."]


class JsonList:
    """A long list that goes into a JSON file entry by entry; until then it lies in a file of its own.

    Args:
        path: That file; it must not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0

    def add(self, entry: Any) -> None:
        """Append an entry."""
        with naming(self._path), self._path.open("a", encoding="ascii") as file:
            file.write((",\n" if self.count else "") + json.dumps(entry, allow_nan=False))
        self.count += 1

    def pour(self, file: IO[str]) -> None:
        """Write the list, with its brackets, into an open file, and remove its own."""
        file.write("[")
        if self.count:
            with self._path.open(encoding="ascii") as own:
                shutil.copyfileobj(own, file)
            self._path.unlink()
        file.write("]")


def write_text(path: Path, text: str) -> None:
    """Write a text file; what of names is no Unicode goes out as the bytes it came as."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        path.write_bytes(text.encode("utf-8", "surrogateescape"))


def _is_plain(path: Path, kind: str) -> bool:
    """Whether a file is what its suffix says, upright, and of 8 bits in grey or colour."""
    try:
        with opened(path) as image:
            return image.format == kind and image.mode in ("L", "RGB") and image.getexif().get(EXIF_ORIENTATION, 1) == 1
    except UNREADABLE as error:
        raise DataError(f"{path}: expected an image to copy, it cannot be read: {error}.") from error
