"""How items become training samples: decode, augment, crop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE
from labelseg.data.augment.point_labels import mark_points
from labelseg.data.augment.transforms import (
    MEAN_FILL,
    augment_for_classifier,
    color_jitter,
    jitter_strengths,
    normalize,
    random_crop_box,
    random_flip,
    random_scale,
)
from labelseg.errors import DataError
from labelseg.pipeline.engines.inputs import Item

logger = logging.getLogger(__name__)

Sample = tuple[NDArray, ...]
Content = TypeVar("Content")


@dataclass(frozen=True)
class Samples:
    """A training set over items; an item that cannot be read is replaced by the next one that can.

    Attributes:
        items: What to learn from.
        make: Makes a sample of an item; draws all randomness from the generator.
    """

    items: Sequence[Item]
    make: Callable[[Item, Generator], Sample]
    _told: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, index: int, rng: Generator) -> Sample:
        """Make the sample at ``index``."""
        first_error: DataError | None = None
        for step in range(len(self.items)):
            place = (index + step) % len(self.items)
            item = self.items[place]
            try:
                return self.make(item, rng)
            except DataError as error:
                if place not in self._told:  # once an image, not at every pass
                    self._told.add(place)
                    logger.warning("left out of training: %s", error)
                first_error = first_error or error
        raise first_error or DataError("training: expected at least one image, got none.")


@dataclass(frozen=True)
class TaggedImage:
    """Makes (image (3, crop, crop) float32, targets (K,) float32) for the classifier.

    Source: published PSA code (spec psa 1.4).
    """

    crop: int
    long_side: tuple[int, int]
    jitter: float
    n_classes: int
    first_class: int

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image = augment_for_classifier(item.image(), rng, self.long_side, self.crop, jitter_strengths(self.jitter))
        return image, tag_targets(item.tags or (), self.n_classes, self.first_class)


@dataclass(frozen=True)
class LabelledGrid:
    """Makes (image (3, crop, crop) float32, labels (crop / 8, crop / 8) uint8) for AffinityNet.

    Crops start at multiples of 8, so that labels of the stride-8 grid can be cut out.

    Attributes:
        crop: Side of the crop, a multiple of 8.
        jitter: Strength of colour jitter.
        scale: Range of the factor that images are resized by; (1, 1) leaves them as they are, as the published code does.

    Source: published PSA code (spec psa 1.7); differs by the places of crops.
    """

    crop: int
    jitter: float
    scale: tuple[float, float] = (1.0, 1.0)

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image, labels = item.image(), item.read("labels")["labels"]
        if self.scale != (1.0, 1.0):
            size = image.shape[:2]
            image, _ = random_scale(image, *self.scale, rng)
            labels = resample_cells(labels, size, image.shape[:2])
        box = random_crop_box(image.shape[:2], self.crop, rng, align=8)
        image = box.cut(color_jitter(image, rng, *jitter_strengths(self.jitter)), MEAN_FILL)
        labels = box.on_grid(8).cut(labels, IGNORE)
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return normalize(image), labels.copy()


def resample_cells(labels: NDArray[np.uint8], size: tuple[int, int], resized: tuple[int, int], stride: int = 8) -> NDArray[np.uint8]:
    """Give each cell of a resized image's grid the label of the cell that its middle came from.

    Args:
        labels: (ceil(H / stride), ceil(W / stride)) of an image of ``size`` = (H, W).
        resized: (H', W') of the resized image.

    Returns:
        (ceil(H' / stride), ceil(W' / stride)).
    """
    places = []
    for before, after, cells in zip(size, resized, labels.shape, strict=True):
        middles = np.minimum(np.arange(0, after, stride) + stride / 2, after - 0.5) * (before / after)
        places.append(np.minimum(middles.astype(np.int64) // stride, cells - 1))
    return labels[np.ix_(*places)]


@dataclass(frozen=True)
class MaskedImage:
    """Makes (image (3, crop, crop) float32, mask (crop, crop) uint8) for a segmenter.

    Attributes:
        crop: Side of the crop.
        scale: Range of the factor that images are resized by.
        jitter: Strength of colour jitter.
        read: Reads the mask of an item, with labels of single pixels that resizing must not lose; None reads nothing: all is 255.
    """

    crop: int
    scale: tuple[float, float]
    jitter: float
    read: Callable[[Item], Target] | None

    def __call__(self, item: Item, rng: Generator) -> Sample:
        picture = item.image()
        target = mask_target(np.full(picture.shape[:2], IGNORE, np.uint8)) if self.read is None else self.read(item)
        image, scaled_mask = random_scale(picture, *self.scale, rng, target.mask)
        scaled_mask = mark_points(scaled_mask, target.points, target.labels, picture.shape[:2])
        image, mask = random_flip(image, rng, scaled_mask)
        assert mask is not None  # a mask given comes back
        box = random_crop_box(image.shape[:2], self.crop, rng)
        image = color_jitter(box.cut(image, MEAN_FILL), rng, *jitter_strengths(self.jitter))
        return normalize(image), box.cut(mask, IGNORE)


def tag_targets(tags: Sequence[int], n_classes: int, first_class: int) -> NDArray[np.float32]:
    """Turn class ids into (K,) float32 of zeros and ones."""
    targets = np.zeros(n_classes, dtype=np.float32)
    targets[np.asarray(tags, dtype=np.int64) - first_class] = 1
    return targets


@dataclass(frozen=True)
class Target:
    """What is to be learned of an image.

    Attributes:
        mask: (H, W) uint8 class ids, 255 = ignore.
        points: (n, 2) rows and columns of pixels that a person labelled.
        labels: (n,) uint8, their class ids.
    """

    mask: NDArray[np.uint8]
    points: NDArray[np.integer]
    labels: NDArray[np.uint8]


def mask_target(mask: NDArray[np.uint8]) -> Target:
    """Take a mask (H, W) alone as what is to be learned."""
    return Target(mask, np.zeros((0, 2), np.int64), np.zeros(0, np.uint8))


def source_target(item: Item, role: str = "labels") -> Target:
    """Read what a label source says of an item."""
    arrays = item.read(role)
    return Target(arrays["mask"], arrays["points"], arrays["point_labels"]) if "point_labels" in arrays else mask_target(arrays["mask"])


def agreed_target(item: Item) -> Target:
    """Read what a label source says of an item, 255 where the masks of ``beside`` say otherwise; labels of single pixels stay."""
    target = source_target(item)
    return replace(target, mask=np.where(source_mask(item, "beside") == target.mask, target.mask, np.uint8(IGNORE)))


def source_mask(item: Item, role: str = "labels") -> NDArray[np.uint8]:
    """Read the mask of a label source: (H, W) uint8 class ids, 255 = ignore."""
    return item.read(role)["mask"]


def readable(items: Sequence[Item], read: Callable[[Item], Content], purpose: str = "training") -> Iterator[Content]:
    """Read items one by one; those that cannot be read are left out with a warning that names the purpose.

    Raises:
        DataError: none can be read.
    """
    refused: list[DataError] = []
    for item in items:
        try:
            content = read(item)
        except DataError as error:
            logger.warning("left out of %s: %s", purpose, error)
            refused.append(error)
        else:
            yield content
    if refused and len(refused) == len(items):
        raise refused[0]
