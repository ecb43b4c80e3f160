"""What has to be right before a training from few masks begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.engines.inputs import Item
from labelseg.training.samples import readable, source_mask


def check_classes(stage: str, items: Sequence[Item], classes: Sequence[str], allow_missing: bool = False) -> None:
    """Demand a labelled pixel of every class.

    Raises:
        DataError: some class has none, and that is not allowed; or no mask can be read.
    """
    if allow_missing:
        return
    missing = set(range(len(classes)))
    for mask in readable(items, source_mask):
        missing -= set(np.unique(mask).tolist())
        if not missing:
            return
    names = ", ".join(classes[k] for k in sorted(missing))
    raise DataError(
        f"{stage}: no pixel of the {len(items):,} labelled images is of class {names}. "
        "Label an image of it (some of every class are chosen by: labelseg split --labelled N), or go on without: --allow-missing"
    )


def check_crop(stage: str, items: Sequence[Item], crop: int, largest: float) -> None:
    """Demand that some image fills the crop in one direction at least, enlarged as far as the training enlarges images.

    Raises:
        UsageError: the crop is larger than every image.
        DataError: no image can be read.
    """
    longest = 0
    for image in readable(items, Item.image):
        longest = max(longest, *image.shape[:2])
        if longest * largest >= crop:
            return
    raise UsageError(
        f"crop of {stage}: {crop} pixels is larger than every image, even enlarged {largest:g} times (the longest side is {longest}). "
        f"Give at most: --crop {int(longest * largest)}"
    )


def held_part(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Hold back a seeded share of the labelled images, at least one where the share is above 0, to choose the best epoch by.

    The last image of a class is not held back. An image whose mask cannot be read counts as one without classes.

    Returns:
        The images to train on, and those held back, both in order.

    Raises:
        UsageError: nothing is left to train on, or every image is the last of some class.
    """
    if share <= 0:
        return list(items), []
    count = max(1, round(share * len(items)))
    if count >= len(items):
        raise UsageError(
            f"hold: {share:g} of {len(items)} labelled images leaves none to train on. Label more, or name a split: --validation SPLIT"
        )
    classes = [_classes_of(item) for item in items]
    left = Counter(k for found in classes for k in found)
    held: set[int] = set()
    for k in np.random.default_rng(seed).permutation(len(items)).tolist():
        if len(held) < count and all(left[found] > 1 for found in classes[k]):
            held.add(k)
            left.subtract(classes[k])
    if not held:
        raise UsageError(f"hold: each of the {len(items)} labelled images is the last of some class. Name others: --validation SPLIT")
    return [items[k] for k in range(len(items)) if k not in held], [items[k] for k in sorted(held)]


def _classes_of(item: Item) -> set[int]:
    """List the classes of a mask; none where it cannot be read, which is reported when the image is trained on."""
    try:
        return set(np.unique(source_mask(item)).tolist()) - {IGNORE}
    except DataError:
        return set()
