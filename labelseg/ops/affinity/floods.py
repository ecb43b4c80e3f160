"""Floods: classes whose walk covered far more of an image than their maps ever pointed at, and what to put in their place.

A weak or diffuse map is nearly flat after a long walk; divided by its own maximum it exceeds any threshold everywhere. The area that a
class has in a second reading of the same image tells such a flood from an object that the walk rightly completed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE


def competing_mask(
    walked: NDArray[np.floating], class_ids: Sequence[int] | NDArray[np.integer], background_weight: float
) -> NDArray[np.uint8]:
    """Label every pixel with the map that is highest after the background walked as a competitor of the classes.

    Args:
        walked: (1 + C, H, W) >= 0: the background's map first; each divided by its own maximum.
        class_ids: (1 + C,) the class of each map.
        background_weight: > 0; factor of the background's map: above 1 it wins more.

    Returns:
        (H, W) uint8 class ids; the background wins a tie.
    """
    scores = np.concatenate([walked[:1] * np.float32(background_weight), walked[1:]])
    return np.asarray(class_ids, dtype=np.uint8)[scores.argmax(axis=0)]


def class_shares(mask: NDArray[np.uint8], class_ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of the labelled pixels that each class has.

    Args:
        mask: (H, W) uint8 class ids; 255 does not count.
        class_ids: (C,) the classes to count.

    Returns:
        (C,) float64 in [0, 1]; zeros where no pixel is labelled.
    """
    counts = np.bincount(mask.ravel(), minlength=256)
    labelled = counts.sum() - counts[IGNORE]
    return counts[np.asarray(class_ids, dtype=np.intp)] / max(labelled, 1)


def flooded_classes(shares: NDArray[np.floating], trusted: NDArray[np.floating], factor: float, margin: float) -> NDArray[np.bool_]:
    """Tell which classes cover more than ``factor * trusted + margin`` of the image.

    Args:
        shares: (C,) share of the image that each class covers now, in [0, 1].
        trusted: (C,) share that it covers in a reading that does not flood.
        factor: >= 0; how much larger an object may become.
        margin: Share of the image that a class may have in any case.

    Returns:
        (C,) bool.
    """
    return np.asarray(shares) > factor * np.asarray(trusted) + margin


def replace_classes(mask: NDArray[np.uint8], other: NDArray[np.uint8], class_ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
    """Take the pixels of some classes from another mask.

    Args:
        mask: (H, W) uint8 class ids; unchanged.
        other: (H, W) uint8, the mask to take these classes from.
        class_ids: (C,) the classes to replace; the background (0) is none.

    Returns:
        (H, W) uint8: pixels that ``mask`` gave to these classes become background; those that ``other`` gives them are theirs where no
        other class is.
    """
    replaced = np.isin(mask, class_ids)
    cleared = np.where(replaced, np.uint8(0), mask)
    return np.where((cleared == 0) & np.isin(other, class_ids), other, cleared)
