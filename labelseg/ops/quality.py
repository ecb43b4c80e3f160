"""How far a mask can be trusted where no truth is known: agreement of stages, what sharpening changed, confidence, and tags."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE


@dataclass(frozen=True)
class Voice:
    """What one stage says of an image: a mask, or maps of classes where it has none.

    Attributes:
        mask: (H, W) uint8 class ids, 255 where it says nothing; None for a stage that writes maps alone.
        scores: (C, h, w) in [0, 1], on any grid; None where there are none.
        class_ids: (C,) ids of the maps.
    """

    mask: NDArray[np.uint8] | None = None
    scores: NDArray[np.floating] | None = None
    class_ids: Sequence[int] = ()

    def map_of(self, class_id: int) -> NDArray[np.floating] | None:
        """The map (h, w) of a class; None where there is none."""
        ids = [int(k) for k in self.class_ids]
        return None if self.scores is None or class_id not in ids else self.scores[ids.index(class_id)]


@dataclass(frozen=True)
class ClassQuality:
    """What speaks for a class in a mask; every part lies in [0, 1], and is None where nothing tells it.

    Attributes:
        agreement: Mean IoU of the class with what the other stages say.
        kept: IoU of the class with the strongest places of its own maps, as many as it has pixels: what sharpening left in place.
        confidence: Mean confidence of its pixels, or mean of its map there.
        consistent: Whether mask and tags agree that the image holds it; None where the tags are unknown.
        quality: Mean of the three parts that are known; 0 where mask and tags differ; None where nothing is known.
    """

    agreement: float | None
    kept: float | None
    confidence: float | None
    consistent: bool | None
    quality: float | None


def class_overlaps(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> dict[int, float]:
    """Measure the IoU of every class that one of two masks (H, W) holds; pixels of 255 in either do not count."""
    joint = np.bincount((first.astype(np.int64) * 256 + second).ravel(), minlength=65_536).reshape(256, 256)
    joint[IGNORE], joint[:, IGNORE] = 0, 0
    union = joint.sum(axis=0) + joint.sum(axis=1) - np.diagonal(joint)
    return {int(k): float(joint[k, k] / union[k]) for k in np.flatnonzero(union)}


def strongest_overlap(region: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Measure the IoU of a region with the strongest places of a map, as many as the region has there.

    Where a threshold lies plays no part: a map that ranks the region first gives 1.

    Args:
        region: (H, W) bool.
        scores: (h, w), on any grid over the same image; the first of equal ones counts as the stronger.

    Returns:
        In [0, 1]; None where the region covers no centre of a place.
    """
    here = at_centres(region, scores.shape).ravel()
    count = int(here.sum())
    if count == 0:
        return None
    order = np.argsort(-scores.astype(np.float32).ravel(), kind="stable")
    hits = int(here[order[:count]].sum())
    return hits / (2 * count - hits)


def at_centres(values: NDArray, size: tuple[int, ...]) -> NDArray:
    """Read (H, W) values where the centres of a grid of another size (h, w) lie."""
    rows, columns = (((np.arange(n) + 0.5) * whole / n).astype(np.int64) for n, whole in zip(size, values.shape, strict=True))
    return values[rows[:, None], columns]


def class_qualities(
    own: Voice,
    others: Sequence[Voice],
    tags: Collection[int] | None,
    confidence: NDArray[np.floating] | None = None,
    background: bool = True,
) -> dict[int, ClassQuality]:
    """Weigh what speaks for each class of a mask.

    Args:
        own: The mask (H, W), with the maps it was made from where these are kept.
        others: What other stages say of the same image, masks of the same size (H, W).
        tags: Ids of the classes that the image is said to hold, background left out; None where that is unknown.
        confidence: (H, W) in [0, 1] of the mask; None where it has none.
        background: Whether class 0 is the background, which is weighed only where the image holds nothing else.

    Returns:
        Class id -> what speaks for it, sorted by id: classes in the mask, and tagged ones.
    """
    mask = own.mask
    assert mask is not None
    held = {int(k) for k in np.unique(mask)} - {IGNORE}
    wanted = sorted(held | set(tags or ()))
    if background and len(wanted) > 1:
        wanted = [k for k in wanted if k != 0]
    shared = [class_overlaps(mask, voice.mask) if voice.mask is not None else None for voice in others]
    found = {}
    for k in wanted:
        region = mask == k
        named = None if tags is None or (background and k == 0) else k in tags
        consistent = None if named is None else named == (k in held)
        agreement = _mean([_agreement(region, k, voice, overlaps) for voice, overlaps in zip(others, shared, strict=True)])
        own_map = own.map_of(k)
        kept = None if own_map is None else strongest_overlap(region, own_map)
        sure = _confidence(region, confidence, [own, *others], k)
        quality = 0.0 if consistent is False else _mean([agreement, kept, sure])
        found[k] = ClassQuality(agreement, kept, sure, consistent, quality)
    return found


def image_quality(classes: Collection[ClassQuality]) -> float | None:
    """Average the quality of the classes of an image, ``()`` scalar; None where nothing is known of any."""
    return _mean([entry.quality for entry in classes])


def _agreement(region: NDArray[np.bool_], class_id: int, voice: Voice, overlaps: dict[int, float] | None) -> float | None:
    """How far another stage says the same of a class: None for maps of classes alone where the class is the background."""
    if overlaps is not None:
        return overlaps.get(class_id, 0.0)
    if class_id == 0 and 0 not in voice.class_ids:
        return None
    scores = voice.map_of(class_id)
    return 0.0 if scores is None else strongest_overlap(region, scores)


def _confidence(region: NDArray[np.bool_], confidence: NDArray[np.floating] | None, voices: Sequence[Voice], class_id: int) -> float | None:
    """Average the confidence of a region (H, W), else the first map of the class there is."""
    if confidence is not None:
        return float(confidence[region].astype(np.float64).mean()) if region.any() else None
    scores = next((found for voice in voices if (found := voice.map_of(class_id)) is not None), None)
    if scores is None:
        return None
    here = at_centres(region, scores.shape)
    return float(scores[here].astype(np.float64).mean()) if here.any() else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Average what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
