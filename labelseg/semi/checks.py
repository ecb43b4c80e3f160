"""What has to be right before a training from few masks begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelseg.errors import DataError, UsageError
from labelseg.pipeline.inputs import Item
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
        "Label an image of it (labelseg split --labelled N looks after that), or go on without: --allow-missing"
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

    Returns:
        The images to train on, and those held back, both in order.

    Raises:
        UsageError: nothing is left to train on.
    """
    count = max(1, round(share * len(items))) if share > 0 else 0
    if count >= len(items):
        raise UsageError(
            f"hold: {share:g} of {len(items)} labelled images leaves none to train on. Label more, or name a split: --validation SPLIT"
        )
    held = set(np.random.default_rng(seed).permutation(len(items))[:count].tolist())
    return [items[k] for k in range(len(items)) if k not in held], [items[k] for k in sorted(held)]
