"""A folder of images, seen in another way: names, splits and tags are those of the folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.data.folder.folder_dataset import FolderDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from labelseg.protocols import Kind


@dataclass(frozen=True)
class FolderView:
    """What views of a folder have in common.

    Attributes:
        dataset: The folder, or another view of it.
    """

    dataset: FolderDataset | FolderView

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""
        return self.dataset.classes

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.dataset.has_background

    def splits(self) -> list[str]:
        """Names of the splits."""
        return self.dataset.splits()

    def ids(self, split: str) -> list[str]:
        """Sorted ids of a split."""
        return self.dataset.ids(split)

    def matches(self, name: str, exactly: bool = False) -> list[str]:
        """List the ids that a name may mean."""
        return self.dataset.matches(name, exactly)

    def resolve(self, name: str, where: str) -> str:
        """Find the id that a name means."""
        return self.dataset.resolve(name, where)

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether there is an image, tags or a mask under this id."""
        return self.dataset.has(image_id, kind)

    def image_path(self, image_id: str) -> Path:
        """The file of an image."""
        return self.dataset.image_path(image_id)

    def image_files(self, image_ids: Iterable[str]) -> Iterator[str] | None:
        """Paths of the files of many images."""
        return self.dataset.image_files(image_ids)

    def tags(self, image_id: str) -> tuple[int, ...] | None:
        """Sorted ids of the classes in the image; None when unknown."""
        return self.dataset.tags(image_id)
