"""The losses of PseudoSeg: cross entropy at the size of the labels, hard or soft, and consistency with a fused label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from labelseg.class_ids import IGNORE
from labelseg.ops.few_masks.sgc import resize_bilinear, resize_nearest


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    align_corners: bool = True,
    enlarge: bool = True,
    hardest: float = 1.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Average the cross entropy of coarse logits over labelled pixels.

    Args:
        logits: (B, C, h, w) float.
        labels: (B, H, W) integers in 0 .. C - 1, or 255.
        align_corners: How logits are enlarged.
        enlarge: Enlarge the logits to the labels; else sample the labels at the logits' grid.
        hardest: Share of all pixels, in (0, 1], over whose highest losses is averaged; 1 takes all labelled ones.
        class_weights: (C,) factor of the loss of each class's pixels; the mean stays over pixels, not over weights.

    Returns:
        Scalar; exactly 0 when no pixel is labelled.

    Source: Zou et al. 2021; pseudoseg.md 1.6.
    """
    size = (labels.shape[1], labels.shape[2])
    if enlarge:
        logits = resize_bilinear(logits, size, align_corners)
    else:
        labels = resize_nearest(labels, (logits.shape[2], logits.shape[3]), align_corners)
    labels = labels.long()
    losses = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")
    if class_weights is not None:
        losses = losses * class_weights[labels.where(labels != IGNORE, 0)]
    if hardest < 1:
        top = losses.flatten().topk(int(hardest * losses.numel())).values
        return top.sum() / (top > 0).sum().clamp(min=1)
    return losses.sum() / (labels != IGNORE).sum().clamp(min=1)


def tag_loss(logits: Tensor, tags: Tensor) -> Tensor:
    """Average the binary cross entropy of class logits (B, K) with tags (B, K) in {0, 1} over images and classes.

    Source: Zou et al. 2021; pseudoseg.md 1.6 (L_x).
    """
    return F.binary_cross_entropy_with_logits(logits.float(), tags.float())


def consistency_loss(logits: Tensor, target: Tensor, valid: Tensor, threshold: float = 0.0, hard: bool = False) -> Tensor:
    """Compare predictions on a strong view with the label that the weak view gave.

    Args:
        logits: (B, C, h, w) of the strong view.
        target: (B, C, h, w) probabilities; no gradient goes into them.
        valid: (B, h, w) in {0, 1}; 0 on padding and cutout.
        threshold: Positions whose highest target is lower do not count; their absence does not enlarge the others' share.
        hard: Compare with the strongest class of the target instead of with all of it.

    Returns:
        Scalar: the sum over valid, confident positions over the number of valid ones; 0 when none is valid.

    Source: Zou et al. 2021; pseudoseg.md 1.6 (L_u).
    """
    target = target.detach()
    confidence, strongest = target.max(dim=1)
    log_probabilities = logits.float().log_softmax(dim=1)
    losses = F.nll_loss(log_probabilities, strongest, reduction="none") if hard else -(target * log_probabilities).sum(dim=1)
    weight = (valid > 0) & (confidence >= threshold)
    return (losses * weight).sum() / (valid > 0).sum().clamp(min=1)


def tags_of_masks(masks: Tensor, n_classes: int, first_class: int) -> Tensor:
    """Tell which classes masks (B, H, W) hold: (B, n_classes - first_class) float of zeros and ones."""
    classes = torch.arange(first_class, n_classes, device=masks.device)
    return (masks[:, None] == classes[None, :, None, None]).flatten(2).any(dim=2).float()
