"""Connected regions of the classes of a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelseg.class_ids import IGNORE

TOUCHING = np.ones((3, 3), bool)  # pixels that share a corner belong together


@dataclass(frozen=True)
class Region:
    """One connected region of a class.

    Attributes:
        class_id: Its class.
        top, left: Row and column of its box in the mask.
        shape: (h, w) bool, its pixels in the box.
    """

    class_id: int
    top: int
    left: int
    shape: NDArray[np.bool_]

    def in_full(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the region as a mask (H, W) uint8 of 0 and 1.

        Args:
            size: (H, W).
        """
        full = np.zeros(size, np.uint8)
        full[self.top : self.top + self.shape.shape[0], self.left : self.left + self.shape.shape[1]] = self.shape
        return full


def regions(mask: NDArray[np.uint8], skip: tuple[int, ...] = (0, IGNORE)) -> Iterator[Region]:
    """Find the regions of a mask, class by class, from the top; pixels of a class that share a side or a corner belong to one.

    Args:
        mask: (H, W) uint8 class ids.
        skip: Ids that are left out.
    """
    for class_id in np.unique(mask).tolist():
        if class_id in skip:
            continue
        numbers, count = ndimage.label(mask == class_id, structure=TOUCHING)
        boxes = ndimage.find_objects(numbers)
        for number in range(1, count + 1):
            rows, columns = boxes[number - 1]
            yield Region(class_id, rows.start, columns.start, numbers[rows, columns] == number)
