"""Which images are worth a look: those that come first in one of several orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from labelseg.quality.kept import ImageQuality

# Name -> what is compared; the lowest comes first.
ORDERS: dict[str, Callable[[ImageQuality], float | None]] = {
    "quality": lambda image: image.quality,
    "confidence": lambda image: image.confidence,
    "agreement": lambda image: image.agreement,
    "miou": lambda image: image.miou,
}


def ordered(images: Sequence[ImageQuality], order: str) -> list[ImageQuality]:
    """Sort images by one of the orders, the lowest first and what is unknown last; equal ones by id."""
    value = ORDERS[order]
    return sorted(images, key=lambda image: ((found := value(image)) is None, found or 0.0, image.id))


def worth_a_look(images: Sequence[ImageQuality], count: int) -> list[ImageQuality]:
    """Choose images: the first of each order in turns, until there are enough; orders that know nothing have no turn.

    Returns:
        At most ``count``, by quality.
    """
    orders = [ordered(images, name) for name, value in ORDERS.items() if any(value(image) is not None for image in images)]
    turns = [image for turn in zip_longest(*(orders or [list(images)])) for image in turn if image is not None]
    chosen = list({image.id: image for image in turns}.values())[:count]
    return ordered(chosen, "quality")
