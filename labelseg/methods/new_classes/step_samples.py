"""Training samples of class-incremental steps: crops with masks at a dense step, crops with image labels at a weak one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE
from labelseg.data.augment.resized_crop import random_resized_crop
from labelseg.data.augment.transforms import color_jitter, jitter_strengths, normalize, random_flip
from labelseg.data.label_maps import image_labels, label_map
from labelseg.ops.new_classes.wilson_step import MaskKind
from labelseg.pipeline.engines.inputs import Item
from labelseg.training.samples import Sample, Samples


@dataclass(frozen=True)
class MaskedCrop:
    """Makes (image (3, crop, crop) float32, mask (crop, crop) uint8 of channels) for a dense step.

    Attributes:
        crop: Side of the crop.
        jitter: Strength of colour jitter.
        channels: Channel of each class id, (256,) uint8, as ``label_map`` gives it.
        read_mask: Reads the mask of an item in class ids.
    """

    crop: int
    jitter: float
    channels: NDArray[np.uint8]
    read_mask: Callable[[Item], NDArray[np.uint8]]

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image, mask = random_resized_crop(item.image(), self.crop, rng, self.channels[self.read_mask(item)])
        image, mask = random_flip(image, rng, mask)
        return normalize(_jittered(image, rng, self.jitter)), mask


@dataclass(frozen=True)
class LabelledCrop:
    """Makes (image (3, crop, crop) float32, labels (T - 1,) float32, mask (crop, crop) uint8, what it is) for a weak step.

    Image labels are of the image, not of the crop: the object may lie outside. They are its tags, or where these are unknown
    the classes of its mask, if that is read.

    Attributes:
        crop: Side of the crop.
        jitter: Strength of colour jitter.
        class_ids: Class id of each channel, background first.
        read_mask: Reads the item's mask in class ids, (H, W); None reads none: every pixel of it is 255.
        mask_kind: What the mask is, a ``MaskKind``.

    Source: Cermelli et al. 2022 (WILSON); spec wilson 1.7.
    """

    crop: int
    jitter: float
    class_ids: tuple[int, ...]
    read_mask: Callable[[Item], NDArray[np.uint8]] | None = None
    mask_kind: MaskKind = MaskKind.NONE

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image = item.image()
        known = np.full(image.shape[:2], IGNORE, np.uint8) if self.read_mask is None else self.read_mask(item)
        labels = image_labels(item_classes(item, lambda item: known), self.class_ids)
        image, mask = random_resized_crop(image, self.crop, rng, label_map(self.class_ids)[known])
        image, mask = random_flip(image, rng, mask)
        return normalize(_jittered(image, rng, self.jitter)), labels, mask, np.asarray(self.mask_kind, np.uint8)


@dataclass(frozen=True)
class StepSamples:
    """The set of a weak step: every image with a new class, and beside them as many draws from others as there are, at most one for each.

    Attributes:
        positives: Images with a new class; each comes once an epoch.
        others: Sets of further images, such as negatives and stored old images, drawn anew every epoch.
    """

    positives: Samples
    others: Sequence[Samples] = field(default=())

    def __len__(self) -> int:
        return len(self.positives) + sum(self._slots())

    def sample(self, index: int, rng: Generator) -> Sample:
        """Make the sample at ``index``."""
        if index < len(self.positives):
            return self.positives.sample(index, rng)
        index -= len(self.positives)
        for other, slots in zip(self.others, self._slots(), strict=True):
            if index < slots:
                return other.sample(int(rng.integers(len(other))), rng)
            index -= slots
        raise IndexError(index)

    def _slots(self) -> list[int]:
        return [min(len(other), len(self.positives)) for other in self.others]


def item_classes(item: Item, read_mask: Callable[[Item], NDArray[np.uint8]] | None = None) -> tuple[int, ...]:
    """List the classes in an image: its tags, or those of its mask where tags are unknown.

    Args:
        item: The image.
        read_mask: Reads the mask, (H, W) class ids; None where no mask may be read.

    Returns:
        Class ids, sorted; empty where nothing is known.
    """
    if item.tags is not None:
        return item.tags
    return tuple(np.unique(read_mask(item)).tolist()) if read_mask is not None else ()


def tagged(items: Sequence[Item]) -> list[Item]:
    """Leave out images with unknown tags."""
    return [item for item in items if item.tags is not None]


def _jittered(image: NDArray[np.uint8], rng: Generator, strength: float) -> NDArray[np.uint8]:
    return color_jitter(image, rng, *jitter_strengths(strength)) if strength else image
