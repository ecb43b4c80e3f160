"""Pictures for pages: photos as small JPEG, and what a stage says of each class as a layer that is clear elsewhere."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelseg.class_ids import IGNORE
from labelseg.data.formats.palette import voc_palette

LEVELS = 32
IGNORED = (128, 128, 128)
PHOTO_QUALITY = 80


def shrunk_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale (height, width) down so that no side is longer; never up."""
    factor = min(1.0, longest / max(size))
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def photo_jpeg(image: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """Encode a photo (H, W, 3) at a size (height, width)."""
    picture = Image.fromarray(image)
    if picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.BOX if image.shape[0] >= 2 * size[0] else Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=PHOTO_QUALITY)
    return buffer.getvalue()


def mask_layers(mask: NDArray[np.uint8], size: tuple[int, int], clear: tuple[int, ...] = (0,)) -> list[tuple[int, bytes]]:
    """Encode a mask (H, W) as one PNG for each class, in its colour where the class is and clear elsewhere; 255 is grey.

    Args:
        mask: (H, W) uint8 class ids.
        size: (height, width) of the pictures; a smaller mask is not enlarged.
        clear: Ids that get no layer.
    """
    small, whole = mask, Image.fromarray(mask)
    if size[0] < mask.shape[0] or size[1] < mask.shape[1]:
        small = np.asarray(whole.resize(size[::-1], Image.Resampling.NEAREST))
    there = [k for k, count in enumerate(whole.histogram()) if count and k not in clear]  # ten times faster than to sort all pixels
    return [(k, _layer((small == k).astype(np.uint8), k, 2)) for k in there]


def score_layers(scores: NDArray[np.floating], class_ids: NDArray[np.integer], size: tuple[int, int]) -> list[tuple[int, bytes]]:
    """Encode maps (C, h, w) in [0, 1] as one PNG each, in the colour of the class, the more opaque the higher.

    Args:
        scores: (C, h, w).
        class_ids: (C,).
        size: (height, width) of the pictures; smaller maps are not enlarged.
    """
    found = []
    for k, scored in zip(class_ids, scores, strict=True):
        levels = np.round(np.clip(np.nan_to_num(scored.astype(np.float32)), 0, 1) * (LEVELS - 1)).astype(np.uint8)
        if size[0] < levels.shape[0] or size[1] < levels.shape[1]:
            levels = np.asarray(Image.fromarray(levels).resize(size[::-1], Image.Resampling.BOX))
        found.append((int(k), _layer(levels, int(k), LEVELS)))
    return found


def class_colour(class_id: int) -> str:
    """Write the colour of a class as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*(IGNORED if class_id == IGNORE else voc_palette()[class_id].tolist()))


def _layer(levels: NDArray[np.uint8], class_id: int, count: int) -> bytes:
    """Encode levels of opacity (H, W) from 0 to count - 1 in one colour."""
    colour = IGNORED if class_id == IGNORE else voc_palette()[class_id].tolist()
    picture = Image.fromarray(levels).convert("L")
    picture.putpalette([*colour] * count)
    opacity = bytes(round(255 * k / (count - 1)) for k in range(count))
    buffer = io.BytesIO()
    options: dict[str, Any] = {"transparency": opacity, "bits": 1 if count == 2 else 8}
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()
