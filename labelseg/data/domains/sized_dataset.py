"""A folder of images that are worked on smaller than their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.data.domains.folder_view import FolderView
from labelseg.data.domains.mapped_masks import MappedMasks
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.errors import UsageError
from labelseg.working_size import SMALLEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from labelseg.protocols import Kind
    from labelseg.working_size import Scaling

KEY = "long_side"


@dataclass(frozen=True)
class SizedDataset(FolderView):
    """A dataset whose images and masks are read at a working size; what is no larger than that is read as it is.

    Attributes:
        dataset: The folder, at the size of its files.
        long_side: Pixels of the longer side that larger images are worked on at.
    """

    dataset: FolderDataset | MappedMasks
    long_side: int

    def identity(self, image_id: str, kind: Kind) -> Path | str | tuple[Path, str]:
        """What identifies the content; of images and masks the file and the working size."""
        found = self.dataset.identity(image_id, kind)
        if kind == "tags":
            return found
        path, *read_as = found if isinstance(found, tuple) else (found,)
        return Path(path), " ".join([*map(str, read_as), f"{KEY} {self.long_side}"])

    def image_files(self, image_ids: Iterable[str]) -> None:
        """The working size identifies images as well."""

    def image(self, image_id: str) -> NDArray[Any]:
        """Read an image at its working size, (h, w, 3) uint8 RGB.

        Raises:
            DataError: the id is unknown or the file cannot be read.
        """
        from labelseg.data.folder.images import read_image

        return read_image(self.dataset.image_path(image_id), self.long_side)

    def mask(self, image_id: str) -> NDArray[Any]:
        """Read the true mask at the working size of its image, (h, w) uint8 class ids, 255 = ignore: the pixels nearest to its centres.

        Raises:
            DataError: there is none, it cannot be read, holds other values or differs in size from the image.
        """
        mask, scaling = self.dataset.mask(image_id), self.scaling(image_id)
        return mask if scaling is None else scaling.shrink(mask)

    def scaling(self, image_id: str) -> Scaling | None:
        """The size of the file of an image, from its header, and the working size; None where they are the same.

        Raises:
            DataError: the id is unknown or the file cannot be read.
        """
        from labelseg.data.folder.images import scaling_of

        return scaling_of(self.dataset.image_path(image_id), self.long_side)

    def at_file_size(self) -> FolderDataset | MappedMasks:
        """The same images and masks at the size of their files."""
        return self.dataset


def check_long_side(value: Any, where: str) -> int:
    """Read the key ``long_side``: pixels, or 0 for none.

    Args:
        value: As it was given.
        where: The table, to begin the error with.

    Raises:
        UsageError: it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not (value == 0 or value >= SMALLEST):
        raise UsageError(
            f"{where} {KEY}: expected the pixels of the longer side to work on, {SMALLEST} or more, or 0 for the size of the files; "
            f"got {value!r}."
        )
    return value


def folder_of(dataset: Any) -> Any:
    """Find the folder below what its images and masks are read through; anything else is returned as it is."""
    while isinstance(dataset, FolderView):
        dataset = dataset.dataset
    return dataset
