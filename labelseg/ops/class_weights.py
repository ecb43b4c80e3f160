"""Image-level knowledge in a mask: the foreground of every pixel shared among the classes that the image as a whole speaks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def share_foreground(probabilities: NDArray[np.floating], weights: NDArray[np.floating], background: int | None = 0) -> NDArray[np.float32]:
    """Share each pixel's foreground probability among classes by pixel probability times weight of the class.

    How much of a pixel is foreground stays as it is; which class gets it follows the image. Where all weighted classes are 0, the
    background takes the pixel.

    Args:
        probabilities: (K, H, W) >= 0, summing to 1 over the classes; unchanged.
        weights: (K,) >= 0; such as a classifier's probabilities, or 1 for the tagged classes. That of the background is not read.
        background: Position of the background's map; None where there is none.

    Returns:
        (K, H, W) float32, summing to 1; the probabilities as they are where the weights are zero and nothing is background.
    """
    shared = probabilities.astype(np.float32) * np.asarray(weights, np.float32)[:, None, None]
    if background is not None:
        shared[background] = 0
    total = shared.sum(axis=0)
    foreground = 1 - probabilities[background].astype(np.float32) if background is not None else np.ones_like(total)
    known = total > 0
    shared *= np.where(known, foreground / np.where(known, total, 1), 0)
    if background is not None:
        shared[background] = np.where(known, probabilities[background], 1)
        return shared
    return np.where(known, shared, probabilities).astype(np.float32)
