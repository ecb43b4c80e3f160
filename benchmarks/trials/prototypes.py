"""Maps from prototypes of all training images, as LPCAM makes them, by a classifier that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor

CLUSTERS, SAMPLES = 12, 20_000
CLASS_FROM, CONTEXT_BELOW = 0.9, 0.5  # probability of the class that the classifier gives the centre of a cluster
EPSILON = 1e-9


@dataclass(frozen=True)
class Prototypes:
    """Unit vectors of a class, and of what stands beside it.

    Attributes:
        of_class: (A, D).
        of_context: (B, D).
    """

    of_class: NDArray[np.float32]
    of_context: NDArray[np.float32]

    def likeness(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean likeness to those of the class minus that to those of the context, at least 0: (h, w) of features (D, h, w)."""
        places = unit(features.reshape(len(features), -1).T)
        alike = np.maximum(places @ self.of_class.T, 0).mean(axis=1)
        if len(self.of_context):
            alike = alike - np.maximum(places @ self.of_context.T, 0).mean(axis=1)
        return np.maximum(alike, 0).reshape(features.shape[1:]).astype(np.float32)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1."""
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + EPSILON)


def find_prototypes(places_of: Mapping[int, NDArray[np.float32]], logits: Callable[[Tensor], Tensor], seed: int) -> dict[int, Prototypes]:
    """Cluster the places of the images of each class, and sort the centres by what the classifier calls them.

    Args:
        places_of: Class, counted from 0, -> (N, D) features of places in images with its tag.
        logits: Of the classifier, (N, K) of (N, D).
        seed: Of the first centres.

    Source: Chen & Sun, CVPR 2023: extracting class activation maps from non-discriminative features as well.
    """
    found = {}
    for class_id, places in places_of.items():
        centres, _ = kmeans2(unit(places), CLUSTERS, minit="++", seed=seed)
        _, labels = kmeans2(unit(places), centres, minit="matrix", iter=1)
        means = np.stack([places[labels == k].mean(axis=0) if (labels == k).any() else centres[k] for k in range(CLUSTERS)])
        with torch.inference_mode():
            certain = logits(torch.from_numpy(means.astype(np.float32))).sigmoid()[:, class_id].numpy()
        of_class = certain > min(CLASS_FROM, float(certain.max()) - EPSILON)
        found[class_id] = Prototypes(unit(means[of_class]).astype(np.float32), unit(means[certain < CONTEXT_BELOW]).astype(np.float32))
    return found
