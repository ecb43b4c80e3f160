"""A folder of images whose masks hold other ids than those of the classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.data.domains.folder_view import FolderView
from labelseg.data.folder.folder_dataset import FolderDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.protocols import Kind


@dataclass(frozen=True)
class MappedMasks(FolderView):
    """A dataset that reads its masks through a table.

    Attributes:
        dataset: The folder; its classes are those after the table.
        table: Class id of each of the 256 ids in a mask, 255 where that is none.
        n_ids: Ids from here on are no ids, but for 255.
        in_first_channel: Masks in colour of 16 bits hold the id in their first channel.
    """

    dataset: FolderDataset
    table: bytes
    n_ids: int = 256
    in_first_channel: bool = False

    def identity(self, image_id: str, kind: Kind) -> Path | str | tuple[Path, str]:
        """What identifies the content; of a mask the file and the table."""
        found = self.dataset.identity(image_id, kind)
        return (found, self.table.hex()) if kind == "mask" and isinstance(found, Path) else found

    def image(self, image_id: str) -> NDArray[Any]:
        """Read an image, (H, W, 3) uint8 RGB."""
        return self.dataset.image(image_id)

    def mask(self, image_id: str) -> NDArray[Any]:
        """Read the true mask, (H, W) uint8 class ids, 255 = ignore.

        Raises:
            DataError: there is none, it cannot be read, holds what is no id, or differs in size from the image.
        """
        import numpy as np

        from labelseg.data.folder.images import image_size, read_mask

        size = image_size(self.dataset.image_path(image_id))
        mask = read_mask(self.dataset.mask_path(image_id), self.n_ids, size, in_first_channel=self.in_first_channel)
        return np.frombuffer(self.table, np.uint8)[mask]

    def scaling(self, image_id: str) -> None:
        """An image is worked on at the size of its file."""

    def at_file_size(self) -> MappedMasks:
        """Itself."""
        return self
