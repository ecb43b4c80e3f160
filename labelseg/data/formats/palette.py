"""Colours of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def voc_palette() -> NDArray[np.uint8]:
    """Return the colours of Pascal VOC, (256, 3) uint8: the bits of an id dealt out to red, green and blue from the top bit down.

    Source: the colour map of the VOC development kit; class 0 is black, 255 is (224, 224, 192).
    """
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


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
