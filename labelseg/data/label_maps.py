"""What images and labels are at a step of class-incremental learning: which images, which channel a class has, which labels count.

Source: Cermelli et al. 2020 (MiB) and 2022 (WILSON), published code; spec wilson 1.7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE

Scenario = Literal["overlap", "disjoint", "separate"]


def select_images(present: Iterable[Collection[int]], seen: Collection[int], new: Collection[int], scenario: Scenario) -> list[int]:
    """Pick the images of a step.

    Args:
        present: Class ids in each image; 0 and 255 do not count.
        seen: Class ids known after the step.
        new: Those learned in it.
        scenario: ``overlap``: images with a new class. ``disjoint``: of these, images without a class of a later step.
            ``separate``: all images without a class of a later step, those without any class among them (COCO to VOC).

    Returns:
        Positions in ``present``.
    """
    allowed, wanted = {0, IGNORE, *seen}, {*new} - {0}
    chosen = []
    for position, classes in enumerate(present):
        has_new, has_later = not wanted.isdisjoint(classes), not allowed.issuperset(classes)
        if (has_new or scenario == "separate") and not (has_later and scenario != "overlap"):
            chosen.append(position)
    return chosen


def label_map(class_ids: Sequence[int], first: int = 1, void: int = IGNORE) -> NDArray[np.uint8]:
    """Make the table from class ids in masks to channels.

    Args:
        class_ids: Class id of each channel; channel 0 is background.
        first: First channel that keeps its pixels: 1 keeps all seen classes, the number of old channels the new ones alone.
        void: What 255 becomes: 255 does not count, 0 is background as in the published training.

    Returns:
        (256,) uint8; every other id becomes background.
    """
    table = np.zeros(256, dtype=np.uint8)
    for channel, class_id in enumerate(class_ids):
        if channel >= first:
            table[class_id] = channel
    table[IGNORE] = void
    return table


def image_labels(tags: Iterable[int], class_ids: Sequence[int], first: int = 1) -> NDArray[np.float32]:
    """Turn the tags of an image into labels in the order of channels, background left out.

    Args:
        tags: Class ids in the image.
        class_ids: Class id of each channel; channel 0 is background.
        first: First channel whose labels are kept, as in ``label_map``.

    Returns:
        (T - 1,) float32 of zeros and ones.
    """
    named = set(tags)
    return np.array([k >= first and class_id in named for k, class_id in enumerate(class_ids)][1:], dtype=np.float32)
