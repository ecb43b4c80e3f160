"""Samples of both domains; answered points go through resizing, mirror and crop as coordinates, so that none is lost by shrinking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from labelseg.class_ids import IGNORE
from labelseg.data.augment.point_labels import mark_points
from labelseg.data.augment.transforms import (
    MEAN_FILL,
    color_jitter,
    jitter_strengths,
    normalize,
    random_crop_box,
    random_flip,
    random_scale,
)
from labelseg.pipeline.engines.inputs import Item
from labelseg.training.pairs import Sample


@dataclass(frozen=True)
class DomainView:
    """Makes an image and what is known of its pixels: (3, crop, crop) float32 and (crop, crop) uint8.

    Attributes:
        names: What both are called in a sample.
        crop, scale, jitter: As of ``MaskedImage``.
        role: Label source to read, ``""`` reads the true mask, None reads nothing: then all pixels are 255.
    """

    names: tuple[str, str]
    crop: int
    scale: tuple[float, float]
    jitter: float
    role: str | None

    def __call__(self, item: Item, rng: Generator) -> Sample:
        whole = item.image()
        size = whole.shape[0], whole.shape[1]
        known = {} if self.role is None else {"mask": item.mask()} if self.role == "" else item.read(self.role)
        image, mask = random_scale(whole, *self.scale, rng, known.get("mask", np.full(size, IGNORE, np.uint8)))
        if "point_labels" in known:
            told = known["point_labels"] != IGNORE  # what nobody could tell hides nothing that is known
            mask = mark_points(mask, known["points"][told], known["point_labels"][told], size)
        image, mask = random_flip(image, rng, mask)
        box = random_crop_box((image.shape[0], image.shape[1]), self.crop, rng)
        image = color_jitter(box.cut(image, MEAN_FILL), rng, *jitter_strengths(self.jitter))
        return {self.names[0]: normalize(image), self.names[1]: box.cut(mask, IGNORE)}
