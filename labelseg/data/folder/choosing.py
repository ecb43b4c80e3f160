"""Choosing the few images to label: by chance, but so that classes keep their shares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from labelseg.errors import UsageError

_CANDIDATES = 24  # of which the best is taken; few enough that chance decides, many enough that shares are kept


def choose_images(classes_of: Mapping[str, Sequence[int]], count: int, seed: int = 0, nested: bool = False) -> list[str]:
    """Choose images so that each class is in as large a share of them as of all.

    While some class has no image yet, one that holds the rarest such class is taken; then, of a few candidates drawn by chance, always
    the one that brings the shares nearest to those of all images (sum of squared differences over the shares).

    Args:
        classes_of: Image -> classes in it, in any order.
        count: How many to choose, at least 1 and at most all.
        seed: Of the draws.
        nested: Let choices of one seed contain each other: a larger one begins with a smaller one. Else choices of
            different sizes are independent.

    Returns:
        Sorted ids.

    Raises:
        UsageError: there are fewer images.
    """
    if not 1 <= count <= len(classes_of):
        raise UsageError(f"labelled images: expected 1 to {len(classes_of):,}, got {count:,}.")
    ids = sorted(classes_of)
    classes = sorted({k for held in classes_of.values() for k in held})
    held = np.zeros((len(ids), len(classes)))
    for row, image_id in enumerate(ids):
        held[row, [classes.index(k) for k in classes_of[image_id]]] = 1
    shares = held.mean(axis=0)
    text = f"{seed}" if nested else f"{seed}:{count}"
    rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))
    free = list(rng.permutation(len(ids)))
    chosen: list[int] = []
    counts = np.zeros(len(classes))
    while len(chosen) < count:
        missing = np.flatnonzero(counts == 0)
        if missing.size:
            rarest = missing[shares[missing].argmin()]
            candidates = [row for row in free if held[row, rarest]]
        else:
            candidates = [free[place] for place in rng.permutation(len(free))[:_CANDIDATES]]
        after = counts + held[candidates]
        cost = ((after - (len(chosen) + 1) * shares) ** 2 / np.maximum(shares, 1e-9)).sum(axis=1)
        best = candidates[int(cost.argmin())]
        free.remove(best)
        chosen.append(best)
        counts += held[best]
    return sorted(ids[row] for row in chosen)
