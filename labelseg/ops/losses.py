"""Losses of the classifier and the segmenter."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from labelseg.class_ids import IGNORE


def multilabel_soft_margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Average the binary cross entropy of every class: ``-[y log p + (1 - y) log(1 - p)]`` with p the logistic of the logit.

    Args:
        logits: (B, K) float.
        targets: (B, K) in [0, 1].

    Returns:
        Scalar mean over classes and images.

    Source: Ahn & Kwak 2018 (spec psa 1.4).
    """
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float())


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Average the cross entropy over labelled pixels.

    Args:
        logits: (B, K, H, W) float.
        labels: (B, H, W) integers in 0 .. K - 1, or 255 where the pixel has no label.

    Returns:
        Scalar; exactly 0, with gradients of 0, when no pixel is labelled.
    """
    labels = labels.long()
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)
