"""Dividing images into those that settings are chosen on, and those that tell how good the choice is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence


def halves(classes_of: Mapping[str, Sequence[int]], seed: int = 0) -> tuple[list[str], list[str]]:
    """Divide images by chance, so that images of the same classes go to both sides.

    Images are ordered by their classes, those of the same classes by chance, and dealt out in turn.

    Args:
        classes_of: Image -> ids of the classes in it.
        seed: Of the chance. It depends on names alone, so an image added moves few others.

    Returns:
        What to choose on, and what to hold out: sorted ids. The first has one more where their number is odd; one image is held out
        of two, and none of one.
    """

    def drawn(image_id: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{image_id}".encode(), digest_size=8).digest()

    order = sorted(classes_of, key=lambda image_id: (tuple(sorted(classes_of[image_id])), drawn(image_id)))
    return sorted(order[::2]), sorted(order[1::2])


def drawn_sample(ids: Sequence[str], most: int, seed: int = 0) -> list[str]:
    """Draw at most so many images by chance; sorted ids."""
    return sorted(sorted(ids, key=lambda image_id: hashlib.blake2b(f"{seed}:{image_id}".encode(), digest_size=8).digest())[:most])
