"""Which of the uncertain pixels are asked: all of them, or one for each class that they are predicted as.

Source: Shin et al. 2021 (LabOR), segment-based and point-based pixel labelling; spec labor 1.7. All that is decided between equals is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE

Similarity = Literal["cosine", "l2"]
TIE = 1e-12


@dataclass(frozen=True)
class Points:
    """Points to ask in one image.

    Attributes:
        places: (n, 2) int64 rows and columns on the grid.
        classes: (n,) int64, the class that each is predicted as.
        similarity: (n,) float64, that of the point and the prototype of its class: at most 1 for cosine, at most 0 for l2.
        sizes: (n,) int64, how many uncertain pixels are predicted as that class.
        prototypes: (n, K) float64, their mean probabilities.
    """

    places: NDArray[np.int64]
    classes: NDArray[np.int64]
    similarity: NDArray[np.float64]
    sizes: NDArray[np.int64]
    prototypes: NDArray[np.float64]


def segment_points(mask: NDArray[np.bool_], asked: NDArray[np.bool_], order: NDArray | None = None, most: int | None = None) -> NDArray:
    """Ask every uncertain pixel that was not asked before (SPL).

    Args:
        mask: (H, W) bool, the uncertain pixels.
        asked: (H, W) bool, those asked in earlier rounds.
        order: (H, W), of which the highest stay where there are more than ``most``; the first in row-major order among equals.
        most: How many at most; None has no limit.

    Returns:
        (n, 2) int64 rows and columns, in row-major order.
    """
    places = np.flatnonzero((mask & ~asked).ravel())
    if most is not None and len(places) > most:
        rank = np.zeros(len(places)) if order is None else np.asarray(order, np.float64).ravel()[places]
        places = np.sort(places[np.argsort(-rank, kind="stable")[:most]])
    return np.stack(np.unravel_index(places, mask.shape), axis=1)


def class_points(
    probabilities: NDArray,
    free: NDArray[np.bool_],
    similarity: Similarity = "cosine",
    most: int | None = None,
    assigned: NDArray | None = None,
) -> Points:
    """Ask, for each class, the uncertain pixel that is most like the mean of those predicted as it (PPL).

    Args:
        probabilities: (K, H, W), the mean of what both classifiers say; the lowest class wins a tie.
        free: (H, W) bool, uncertain pixels that were not asked before.
        similarity: What likeness is measured by: the cosine of the angle, or minus the Euclidean distance.
        most: How many points at most: then classes with the most uncertain pixels stay, lower ones among equals. None has no limit.
        assigned: (H, W) classes in place of the most probable ones.

    Returns:
        At most one point a class, classes growing. Similarities within 1e-12 of the best are equal: the first in row-major order is taken.

    Source: Shin et al. 2021, prototypes; spec labor 1.7.
    """
    vectors = np.moveaxis(np.asarray(probabilities, np.float64), 0, -1)[free]
    classes = (probabilities.argmax(axis=0) if assigned is None else assigned)[free]
    rows, columns = np.nonzero(free)
    found = []
    for k in np.unique(classes):
        own = np.flatnonzero(classes == k)
        prototype = vectors[own].mean(axis=0)
        likeness = _likeness(vectors[own], prototype, similarity)
        best = own[np.flatnonzero(likeness >= likeness.max() - TIE)[0]]
        found.append((int(k), len(own), (rows[best], columns[best]), likeness.max(), prototype))
    if most is not None and len(found) > most:
        found = sorted(sorted(found, key=lambda point: (-point[1], point[0]))[:most])
    n, n_classes = len(found), len(probabilities)
    return Points(
        places=np.array([point[2] for point in found], np.int64).reshape(n, 2),
        classes=np.array([point[0] for point in found], np.int64),
        similarity=np.array([point[3] for point in found], np.float64),
        sizes=np.array([point[1] for point in found], np.int64),
        prototypes=np.array([point[4] for point in found], np.float64).reshape(n, n_classes),
    )


def with_answers(labels: NDArray[np.uint8], places: NDArray, answers: NDArray) -> NDArray[np.uint8]:
    """Write answers into a sparse label; what was answered before stays unless it is answered anew.

    Args:
        labels: (H, W) uint8, 255 where nobody knows.
        places: (n, 2) rows and columns.
        answers: (n,) class ids, 255 where the person cannot tell.

    Returns:
        (H, W) uint8, a copy.
    """
    labels = labels.copy()
    labels[places[:, 0], places[:, 1]] = answers
    return labels


def no_labels(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Make a sparse label (H, W) in which nothing is known yet."""
    return np.full(size, IGNORE, np.uint8)


def _likeness(vectors: NDArray[np.float64], prototype: NDArray[np.float64], similarity: Similarity) -> NDArray[np.float64]:
    """Compare vectors (n, K) with a prototype (K,)."""
    if similarity == "l2":
        return -np.linalg.norm(vectors - prototype, axis=1)
    return vectors @ prototype / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(prototype))
