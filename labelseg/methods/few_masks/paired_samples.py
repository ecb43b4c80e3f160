"""Samples of a labelled and an unlabelled image at once, with all their views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE
from labelseg.data.augment.colour import StrongColours, additive_jitter
from labelseg.data.augment.transforms import MEAN_FILL, normalize
from labelseg.data.augment.views import Draw, Geometry
from labelseg.errors import DataError
from labelseg.ops.few_masks.cutmix import cutmix_box, cutout_box
from labelseg.pipeline.engines.inputs import Item
from labelseg.training.pairs import Sample
from labelseg.training.samples import source_mask, tag_targets


@dataclass(frozen=True)
class LabelledView:
    """Makes ``image`` (3, crop, crop) float32, ``mask`` (crop, crop) uint8 and ``tags`` (K,) float32 of a labelled image.

    Attributes:
        draw: Draws the window.
        n_classes, first_class: Of the data; ``first_class`` is 1 where class 0 is the background.
        tags_from: ``image``: the tags of the image, or the classes of its whole mask; ``crop``: the classes left in the window.
        fill: Colour of padding.
    """

    draw: Draw
    n_classes: int
    first_class: int
    tags_from: Literal["image", "crop"] = "image"
    fill: tuple[int, int, int] = MEAN_FILL

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image, mask = item.image(), source_mask(item)
        geometry = self.draw(image, rng)
        cut = geometry.mask(mask, IGNORE)
        return {
            "image": normalize(geometry.pad(geometry.image(image), self.fill)),
            "mask": cut,
            "labelled_valid": geometry.valid(),
            "tags": self._tags(item, mask if self.tags_from == "image" else cut),
        }

    def _tags(self, item: Item, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
        tags = item.tags if self.tags_from == "image" else None
        if tags is None:
            tags = tuple(int(k) for k in np.unique(mask) if self.first_class <= k < self.n_classes)
        return tag_targets(tags, self.n_classes - self.first_class, self.first_class)


@dataclass(frozen=True)
class UniMatchViews:
    """Makes the views of an unlabelled image for UniMatch.

    ``weak`` and ``strong1``, ``strong2`` (3, crop, crop) float32; ``valid`` (crop, crop) uint8; ``box1``, ``box2`` (4,) int64; ``truth``
    (crop, crop) uint8, all 255 unless the image has a mask, for watching the pseudo labels. For two strong views ``views`` is 2. With a
    number of classes also ``unlabelled_tags`` (K,) float32: those given, or all where they are unknown.

    Attributes:
        draw, fill: As of ``LabelledView``.
        views: Number of strong views.
        colours: Strong changes of colour.
        box: Probability of a CutMix box.
        own_partner: Add a second set of views of the same image, ``partner_*``, to be pasted from.
        watch: Read true masks where there are any.
        n_classes, first_class: Of the data, for the tags; 0 classes leave them out.

    Source: Yang et al. 2023; unimatch.md 1.5.
    """

    draw: Draw
    views: int = 2
    colours: StrongColours = field(default_factory=StrongColours)
    box: float = 0.5
    own_partner: bool = False
    watch: bool = False
    fill: tuple[int, int, int] = MEAN_FILL
    n_classes: int = 0
    first_class: int = 0

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image = item.image()
        geometry = self.draw(image, rng)
        sample = self._views(image, geometry, rng)
        for view in range(1, self.views + 1):
            sample[f"box{view}"] = np.array(cutmix_box((self.draw.crop, self.draw.crop), rng, self.box), np.int64)
        if self.own_partner:
            other = self._views(image, self.draw(image, rng), rng)
            sample |= {f"partner_{name}": array for name, array in other.items()}
        sample["truth"] = true_window(item, geometry, self.watch)
        if self.n_classes:
            tags = range(self.first_class, self.n_classes) if item.tags is None else item.tags
            sample["unlabelled_tags"] = tag_targets(tags, self.n_classes - self.first_class, self.first_class)
        return sample

    def _views(self, image: NDArray[np.uint8], geometry: Geometry, rng: Generator) -> Sample:
        part = geometry.image(image)
        views = {"weak": part} | {f"strong{view}": self.colours(part, rng) for view in range(1, self.views + 1)}
        sample = {name: normalize(geometry.pad(pixels, self.fill)) for name, pixels in views.items()}
        return {**sample, "valid": geometry.valid()}


@dataclass(frozen=True)
class PseudoSegViews:
    """Makes the views of an unlabelled image for PseudoSeg.

    ``weak`` and ``strong`` (3, crop, crop) float32; ``valid`` (crop, crop) uint8, 0 on padding and in the cutout; ``truth`` (crop, crop)
    uint8; ``unlabelled_tags`` (K,) float32, those given, or zeros.

    Attributes:
        draw, fill, watch: As of ``UniMatchViews``.
        n_classes, first_class: Of the data.
        strength: Of the colour jitter.
        cutout: Half of the side of the square that is cut out of the strong view; 0 cuts none.

    Source: Zou et al. 2021; pseudoseg.md 1.8.
    """

    draw: Draw
    n_classes: int
    first_class: int
    strength: float = 1.0
    cutout: int = 50
    watch: bool = False
    fill: tuple[int, int, int] = MEAN_FILL

    def __call__(self, item: Item, rng: Generator) -> Sample:
        image = item.image()
        geometry = self.draw(image, rng)
        part = geometry.image(image)
        strong = geometry.pad(additive_jitter(part, rng, self.strength), self.fill)
        valid = geometry.valid()
        top, left, height, width = cutout_box(valid.shape, self.cutout, rng)
        strong[top : top + height, left : left + width] = self.fill
        valid[top : top + height, left : left + width] = 0
        return {
            "weak": normalize(geometry.pad(part, self.fill)),
            "strong": normalize(strong),
            "valid": valid,
            "truth": true_window(item, geometry, self.watch),
            "unlabelled_tags": tag_targets(item.tags or (), self.n_classes - self.first_class, self.first_class),
        }


def true_window(item: Item, geometry: Geometry, watch: bool) -> NDArray[np.uint8]:
    """Cut the window of a training sample out of the true mask, to see how good pseudo labels are.

    Args:
        item: The image.
        geometry: The window, and what was done to the image.
        watch: Whether true masks may be looked at.

    Returns:
        (crop, crop) uint8 class ids; 255 everywhere without a mask that may be looked at and can be read.
    """
    unknown = np.full((geometry.crop, geometry.crop), IGNORE, np.uint8)
    if not (watch and item.has("mask")):
        return unknown
    try:
        return geometry.mask(item.mask(), IGNORE)
    except DataError:  # the mask is not learned from: the image is not left out for it
        return unknown
