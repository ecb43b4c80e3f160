"""Pseudo labels with a threshold for each class that is carried from image to image, and the terms that go with them.

Source: Mei et al. 2020 (IAST), published code; spec labor 1.4. LabOR uses the rule as it is, to train its pixel selector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelseg.class_ids import IGNORE

START, HIGHEST = 0.9, 0.999


def confident_share(confidences: Sequence[float] | NDArray, threshold: float, alpha: float, gamma: float) -> float:
    """Find the confidence that a share ``alpha * threshold ** gamma`` of a class's pixels exceeds, by linear interpolation.

    Args:
        confidences: (n,) in [0, 1], n >= 1; the first one is the threshold so far, which is a sample itself.
        threshold: In [0, 1].
        alpha: Share of the pixels of a class that would be labelled at a threshold of 1.
        gamma: How strongly the share of a class falls with its threshold.

    Returns:
        A number in the range of the samples.

    Source: Mei et al. 2020, published code; spec labor 1.4.
    """
    return float(np.percentile(np.asarray(confidences, np.float64), 100 * (1 - alpha * threshold**gamma)))


def carry_thresholds(
    thresholds: NDArray[np.float64], probabilities: Sequence[NDArray], alpha: float, beta: float = 0.9, gamma: float = 8.0
) -> NDArray[np.float64]:
    """Move the threshold of every class by what is seen in one group of images.

    Args:
        thresholds: (K,) float64, those of the group before; 0.9 at the start.
        probabilities: An array (K, H, W) for each image of the group, summing to 1 over classes.
        alpha, gamma: As of ``confident_share``.
        beta: Share of the old threshold in the new one.

    Returns:
        (K,) float64, below 1. A class that no pixel is most probable of keeps its threshold.

    Source: Mei et al. 2020, published code; spec labor 1.4: confidences are rounded to float16 before.
    """
    peaks = [(p.argmax(axis=0).ravel(), p.max(axis=0).ravel().astype(np.float16).astype(np.float64)) for p in probabilities]
    classes, confidences = (np.concatenate(parts) for parts in zip(*peaks, strict=True))
    moved = thresholds.astype(np.float64).copy()
    for k, threshold in enumerate(thresholds):
        samples = np.append(threshold, confidences[classes == k])
        moved[k] = beta * threshold + (1 - beta) * confident_share(samples, float(threshold), alpha, gamma)
    moved[moved >= 1] = HIGHEST
    return moved


def confident_labels(probabilities: NDArray, thresholds: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Label each pixel with its most probable class where that reaches the threshold of the class.

    Args:
        probabilities: (K, H, W); the lowest class wins a tie.
        thresholds: (K,).

    Returns:
        (H, W) uint8 class ids, 255 below the threshold.
    """
    classes = probabilities.argmax(axis=0)
    return np.where(probabilities.max(axis=0) >= thresholds[classes], classes, IGNORE).astype(np.uint8)


def entropy_of_ignored(logits: Tensor, labels: Tensor) -> Tensor:
    """Average the entropy of predictions over the pixels without a label: less of it is sharper.

    Args:
        logits: (B, K, H, W) float.
        labels: (B, H, W) integers, 255 without a label.

    Returns:
        Scalar: the sum over those pixels and classes, divided by the number of those pixels and of classes; 0 where there are none.

    Source: Mei et al. 2020, published code; off in LabOR.
    """
    log_p = torch.log_softmax(logits, dim=1)
    return _mean_over(-(log_p.exp() * log_p), labels == IGNORE)


def divergence_from_uniform(logits: Tensor, labels: Tensor) -> Tensor:
    """Average over labelled pixels how far predictions are from being even: less of it is smoother.

    Args:
        logits: (B, K, H, W) float.
        labels: (B, H, W) integers, 255 without a label.

    Returns:
        Scalar: the mean over labelled pixels and classes of ``-log p / K``, which is the divergence up to a constant and a factor of
        K; 0 where there are none.

    Source: Mei et al. 2020, published code; off in LabOR.
    """
    return _mean_over(-torch.log_softmax(logits, dim=1) / logits.shape[1], labels != IGNORE)


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Average (B, K, H, W) over the chosen pixels (B, H, W) and all classes."""
    total = (values * chosen[:, None]).sum()
    return total / (chosen.sum() * values.shape[1]).clamp(min=1)
