"""Colours of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import BACKGROUND


def voc_palette() -> NDArray[np.uint8]:
    """Return the colours of Pascal VOC, (256, 3) uint8: the bits of an id dealt out to red, green and blue from the top bit down.

    Source: the colour map of the VOC development kit; class 0 is black, 255 is (224, 224, 192).
    """
    return voc_colours(np.arange(256))


def voc_colours(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the colour of each id as ``voc_palette`` deals it out, which goes on beyond 255.

    Args:
        ids: Any shape, whole numbers from 0 to 2^24 - 1.

    Returns:
        The same shape with an axis of 3 more, uint8.
    """
    colours = np.zeros((*ids.shape, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[..., channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def colorize(mask: NDArray[np.uint8], image: NDArray[np.uint8] | None = None, opacity: float = 0.5) -> NDArray[np.uint8]:
    """Paint a mask in the colours of its classes, over an image if one is given.

    Args:
        mask: (H, W) uint8 class ids.
        image: (H, W, 3) uint8.
        opacity: Of the colours over the image, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    colors: NDArray[Any] = voc_palette()[mask]
    if image is None:
        return colors
    return np.round(colors * opacity + image * (1 - opacity)).astype(np.uint8)


def clear_ids(classes: Sequence[str]) -> tuple[int, ...]:
    """List the ids that are not painted over an image: that of the background, where there is one."""
    return (0,) if classes[0] == BACKGROUND else ()


def paint_over(mask: NDArray[np.uint8], image: NDArray[np.uint8], opacity: float = 0.5, clear: tuple[int, ...] = (0,)) -> NDArray[np.uint8]:
    """Paint the classes of a mask over an image, their outlines in full colour; what is clear stays as the image is.

    Args:
        mask: (H, W) uint8 class ids.
        image: (H, W, 3) uint8.
        opacity: Of the colours over the image, in [0, 1].
        clear: Ids that are not painted: the background, where there is one.

    Returns:
        (H, W, 3) uint8.
    """
    rim = np.zeros(mask.shape, bool)
    down = (slice(1, None), slice(None)), (slice(None, -1), slice(None))
    right = (slice(None), slice(1, None)), (slice(None), slice(None, -1))
    for here, there in (down, right):
        differ = mask[here] != mask[there]
        rim[here] |= differ
        rim[there] |= differ
    painted = np.where(rim[..., None], voc_palette()[mask], colorize(mask, image, opacity))
    return np.where(np.isin(mask, clear)[..., None], image, painted).astype(np.uint8)
