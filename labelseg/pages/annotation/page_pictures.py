"""Pictures that the page shows: photos as they are, masks as transparent colours."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from labelseg.class_ids import IGNORE
from labelseg.data.formats.palette import voc_palette
from labelseg.pages.annotation.asked_items import AskedMasks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.protocols import Dataset

LOSSLESS_PIXELS = 1_500_000  # larger photos are sent as JPEG, which is a tenth of the size
KEPT = 16
OPACITY = 130


class Pictures:
    """Encodes pictures, and keeps the last few.

    Args:
        dataset: Where the photos are.
        masks: Where the masks are.
    """

    def __init__(self, dataset: Dataset, masks: AskedMasks) -> None:
        self._dataset = dataset
        self._masks = masks
        self.photo = lru_cache(KEPT)(self._photo)
        self.overlay = lru_cache(KEPT)(self._overlay)

    def _photo(self, image_id: str) -> tuple[bytes, str]:
        """Encode a photo, upright; the bytes and their type."""
        pixels = self._dataset.image(image_id)
        if pixels.shape[0] * pixels.shape[1] > LOSSLESS_PIXELS:
            return _encoded(pixels, "JPEG", quality=93, subsampling=0), "image/jpeg"
        return _encoded(pixels, "PNG", compress_level=1), "image/png"

    def _overlay(self, image_id: str) -> tuple[bytes, str] | None:
        """Encode the mask of an image in the colours of its classes; None where there is none."""
        mask = self._masks.mask(image_id)
        if mask is None:
            return None
        opacity = np.where(mask == IGNORE, 0, OPACITY).astype(np.uint8)
        return _encoded(np.concatenate([voc_palette()[mask], opacity[..., None]], axis=2), "PNG", compress_level=1), "image/png"


def _encoded(pixels: NDArray[np.uint8], kind: str, **options: int) -> bytes:
    """Encode pixels (H, W, 3 or 4)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
