"""The size at which an image is worked on, where that is less than the size of its file: sides, pixels and masks of one in the other.

A pixel of one size stands for the pixel of the other in which its centre lies. All is whole numbers, so that nothing depends on rounding:
from working size to file and back every pixel comes to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

Size = tuple[int, int]  # height, width

FILE_MASK = "file_mask"  # array of an item whose mask is known at the size of the file too
SMALLEST = 64  # pixels of the longer side, below which networks see nothing


def working_size(size: Size, long_side: int) -> Size:
    """Shrink (height, width) so that the longer side is ``long_side`` pixels; what is no larger stays as it is, and 0 shrinks nothing."""
    longest = max(size)
    if not 0 < long_side < longest:
        return size
    height, width = (max((2 * side * long_side + longest) // (2 * longest), 1) for side in size)
    return height, width


@dataclass(frozen=True)
class Scaling:
    """Two sizes of one image.

    Attributes:
        file: (height, width) of its file, upright.
        work: Those it is worked on at; no larger.
    """

    file: Size
    work: Size

    def to_file(self, row: int, column: int) -> tuple[int, int]:
        """The pixel of the file that stands for one of the working size."""
        return _place(row, self.work[0], self.file[0]), _place(column, self.work[1], self.file[1])

    def to_work(self, row: int, column: int) -> tuple[int, int]:
        """The pixel of the working size in which one of the file lies; one outside of the file lies outside of it."""
        return _place(row, self.file[0], self.work[0]), _place(column, self.file[1], self.work[1])

    def shrink(self, mask: NDArray) -> NDArray:
        """Sample a mask (H, W) of the file at the working size, (h, w); no value is new."""
        return _sample(mask, self.file, self.work)

    def enlarge(self, mask: NDArray) -> NDArray:
        """Spread a mask (h, w) of the working size over the file, (H, W); ``shrink`` gives it back as it was."""
        return _sample(mask, self.work, self.file)


def enlarged(mask: NDArray, size: Size) -> NDArray:
    """Spread a mask (h, w) over a file of (H, W) where its size is one at which such a file is worked on; any other stays as it is."""
    own = (mask.shape[0], mask.shape[1])
    if own == tuple(size) or own != working_size(size, max(own)):
        return mask
    return Scaling(size, own).enlarge(mask)


def places(before: int, after: int) -> list[int]:
    """For each of ``after`` pixels of a side, which of the ``before`` pixels it is sampled from."""
    return [_place(place, after, before) for place in range(after)]


def _place(place: int, before: int, after: int) -> int:
    """The pixel of a side of ``after`` pixels in which the centre of one of ``before`` lies."""
    return (2 * place + 1) * after // (2 * before)


def _sample(mask: NDArray, before: Size, after: Size) -> NDArray:
    """Sample a mask at pixel centres."""
    if mask.shape != before:
        raise ValueError(f"expected a mask of {before[0]} x {before[1]} pixels, got one of {' x '.join(map(str, mask.shape))}")
    return mask.take(places(before[0], after[0]), axis=0).take(places(before[1], after[1]), axis=1)
