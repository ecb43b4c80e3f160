"""True masks at the size of their files, read once for many artifacts."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.protocols import Dataset

LEVEL = 1  # masks shrink to some hundredth of their pixels at the least effort
MOST_BYTES = 256 * 1024**2


class TruthCache:
    """True masks at the size of their files; one that was read is kept in memory, compressed to some kilobytes, as long as there is room.

    Args:
        dataset: Where they are.
        room: Bytes that are kept at most.
    """

    def __init__(self, dataset: Dataset, room: int = MOST_BYTES) -> None:
        self._dataset, self._room = dataset.at_file_size(), room
        self._kept: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def read(self, image_id: str) -> NDArray[np.uint8]:
        """Read the true mask of an image, (H, W) uint8 class ids, 255 = ignore; it may not be written to.

        Raises:
            DataError: there is none that can be used.
        """
        if image_id in self._kept:
            shape, packed = self._kept[image_id]
            return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)
        mask = self._dataset.mask(image_id)
        packed = zlib.compress(mask.tobytes(), LEVEL)
        if len(packed) <= self._room:
            self._kept[image_id] = mask.shape, packed
            self._room -= len(packed)
        return mask
