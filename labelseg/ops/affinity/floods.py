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
    return np.asarray(class_ids, dtype=np.uint8)[competing_scores(walked, background_weight).argmax(axis=0)]


def competing_scores(walked: NDArray[np.floating], background_weight: float) -> NDArray[np.floating]:
    """Weigh the background's map, the first of (1 + C, H, W), against those of the classes."""
    return np.concatenate([walked[:1] * np.float32(background_weight), walked[1:]])


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


def flooded_classes(
    mask: NDArray[np.uint8],
    trusted: Sequence[NDArray[np.uint8]],
    class_ids: Sequence[int] | NDArray[np.integer],
    factor: float,
    margin: float,
) -> NDArray[np.integer]:
    """List the classes that cover more than ``factor`` times their largest trusted share of the image, and ``margin`` of it more.

    Args:
        mask: (H, W) uint8 class ids.
        trusted: Masks (H, W) of the same image that do not flood; at least one.
        class_ids: (C,) the classes that may have flooded, the background left out.
        factor: >= 0; how much larger an object may become.
        margin: Share of the image that a class may have in any case.

    Returns:
        (F,) the ids of those that flooded, in their order.
    """
    areas = np.max([class_shares(one, class_ids) for one in trusted], axis=0)
    return np.asarray(class_ids)[class_shares(mask, class_ids) > factor * areas + margin]


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


def guard_mask(
    mask: NDArray[np.uint8],
    trusted: Sequence[NDArray[np.uint8]],
    class_ids: Sequence[int] | NDArray[np.integer],
    factor: float,
    margin: float,
) -> NDArray[np.uint8]:
    """Take every flooded class from the first trusted mask; all as of ``flooded_classes`` and ``replace_classes``.

    Returns:
        (H, W) uint8.
    """
    return replace_classes(mask, trusted[0], flooded_classes(mask, trusted, class_ids, factor, margin))
