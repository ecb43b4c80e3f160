"""Masks at the size of the files that they belong to, whatever size was worked on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labelseg.data.dataset import image_file
from labelseg.data.folder.images import image_size
from labelseg.errors import LabelsegError
from labelseg.working_size import FILE_MASK, enlarged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.protocols import Dataset


def mask_of_file(dataset: Dataset, image_id: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Read the mask of an item at the size of the file of its image: every pixel has the class of the one that it was worked on in.

    Scores, which might draw smoother borders, are not kept; nor could they lie in memory at such a size. A mask of another size, as of an
    image that is gone or was replaced, stays as it is.

    Args:
        dataset: Where the image is.
        image_id: Its id.
        arrays: The item: ``mask`` (h, w), and perhaps ``file_mask`` (H, W), which then counts.
    """
    return at_file_size(arrays.get(FILE_MASK, arrays["mask"]), dataset, image_id)


def at_file_size(values: NDArray[Any], dataset: Dataset, image_id: str) -> NDArray[Any]:
    """Spread values (h, w), such as confidences, over the file of an image as ``mask_of_file`` does."""
    try:
        if not dataset.has(image_id, "image") or image_file(dataset, image_id) is None:
            return values
        return enlarged(values, upright_size(dataset, image_id))
    except LabelsegError:
        return values


def upright_size(dataset: Dataset, image_id: str) -> tuple[int, int]:
    """Read (height, width) of an image as it is seen, from the header of its file where it has one.

    Raises:
        DataError: it cannot be read.
    """
    path = image_file(dataset, image_id)
    if path is not None:
        return image_size(path)
    height, width = dataset.image(image_id).shape[:2]
    return height, width
