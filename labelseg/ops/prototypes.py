"""Prototype maps: what looks, to the network, like the places that the class activation maps are surest of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-9


def prototype_maps(
    features: NDArray[np.floating], cams: NDArray[np.floating], *, top: float = 0.2, bottom: float = 0.3, temperature: float = 0.1
) -> NDArray[np.float32]:
    """Score every place by its likeness to the mean feature of each class, against that of the background.

    The prototype of a class is the mean feature of its ``top`` share of places, weighted by their activation; that of the background
    the mean feature of the ``bottom`` share of places, where even the strongest map is weakest. Likeness is the cosine; a softmax over
    background and classes makes scores of it.

    Args:
        features: (D, h, w) of the image.
        cams: (C, h, w) in [0, 1], the maps of the classes present on the same grid; C may be 0.
        top: Share of places that a class is known by, in (0, 1].
        bottom: Share of places that the background is known by, in (0, 1].
        temperature: Of the softmax, > 0; a low value makes scores sharper.

    Returns:
        (C, h, w) float32 in [0, 1]; with that of the background they would sum to 1.

    Source: the idea of prototypes is that of Chen et al. 2022 (self-supervised image-specific prototypes) and Chen & Sun 2023 (LPCAM).
    """
    grid = cams.shape[1:]
    places = features.reshape(len(features), -1).astype(np.float32)
    maps = cams.reshape(len(cams), places.shape[1]).astype(np.float32)
    strongest = maps.max(axis=0, initial=0.0)
    prototypes = [places[:, _first(strongest, bottom)].mean(axis=1)]
    for one in maps:
        sure = _first(-one, top)
        prototypes.append(places[:, sure] @ one[sure] / (one[sure].sum() + EPSILON))
    cosines = _unit(np.stack(prototypes), axis=1) @ _unit(places, axis=0)
    exponents = np.exp((cosines - cosines.max(axis=0)) / np.float32(temperature))
    return (exponents / exponents.sum(axis=0))[1:].reshape(-1, *grid).astype(np.float32)


def _first(values: NDArray[np.float32], share: float) -> NDArray[np.intp]:
    """The positions of the lowest values: a share of them, at least one; the first of a tie."""
    return np.argsort(values, kind="stable")[: max(int(share * values.size), 1)]


def _unit(vectors: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Scale vectors along an axis to length 1."""
    return vectors / (np.linalg.norm(vectors, axis=axis, keepdims=True) + np.float32(EPSILON))
