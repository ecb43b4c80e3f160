"""Samples of both domains; answered points go through resizing, mirror and crop as coordinates, so that none is lost by shrinking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from numpy.random import Generator

from labelseg.class_ids import IGNORE
from labelseg.pipeline.engines.inputs import Item
from labelseg.training.pairs import Sample
from labelseg.training.samples import MaskedImage, Target, mask_target, source_target


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
        read = None if self.role is None else partial(known_target, role=self.role)
        return dict(zip(self.names, MaskedImage(self.crop, self.scale, self.jitter, read)(item, rng), strict=True))


def known_target(item: Item, role: str) -> Target:
    """Read a label source, or the true mask for an empty role; a point that nobody could tell hides nothing that is known."""
    if not role:
        return mask_target(item.mask())
    target = source_target(item, role)
    told = target.labels != IGNORE
    return Target(target.mask, target.points[told], target.labels[told])
