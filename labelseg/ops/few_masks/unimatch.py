"""UniMatch: labels by the weak view, CutMix, the losses of the strong and the perturbed predictions; OHEM; complementary dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from labelseg.class_ids import IGNORE

Box = tuple[int, int, int, int]


class PseudoLabel(NamedTuple):
    """What a weak view says of each pixel.

    Attributes:
        label: (B, H, W) int64 strongest class.
        confidence: (B, H, W) its probability.
        valid: (B, H, W) bool; False on padding.
    """

    label: Tensor
    confidence: Tensor
    valid: Tensor

    def pasted(self, partner: PseudoLabel, boxes: Tensor) -> PseudoLabel:
        """Take all three from the partner inside of boxes (B, H, W) bool."""
        return PseudoLabel(*(torch.where(boxes, theirs, own) for own, theirs in zip(self, partner, strict=True)))

    def rolled(self) -> PseudoLabel:
        """Move each image of the batch on by one place, the last to the first."""
        return PseudoLabel(*(tensor.roll(1, 0) for tensor in self))


def pseudo_label(logits: Tensor, valid: Tensor, tags: Tensor | None = None) -> PseudoLabel:
    """Read labels and confidences off the logits (B, C, H, W) of a weak view; without gradients.

    Args:
        logits: Of the weak view.
        valid: (B, H, W), 0 on padding.
        tags: (B, K) of zeros and ones, the classes that each image may hold; None allows all. An extension.

    Source: Yang et al. 2023; unimatch.md 1.3.
    """
    probabilities = logits.detach().float().softmax(dim=1)
    confidence, label = (probabilities if tags is None else share_by_tags(probabilities, tags)).max(dim=1)
    return PseudoLabel(label, confidence, valid > 0)


def trust_class_shares(target: PseudoLabel, share: float, threshold: float) -> PseudoLabel:
    """Trust the most confident pixels of every class, however few of them reach the threshold: an extension.

    Args:
        target: Labels of a batch.
        share: Of the valid pixels with a class in the batch, so large a part is trusted, rounded up; in [0, 1].
        threshold: Confidence from which pixels are learned: that of trusted ones is raised to it.

    Returns:
        The same labels. Pixels that tie with the last trusted one are trusted too.

    Source: as the class-balanced self-training of Zou et al. 2018, within a batch.
    """
    if share <= 0:
        return target
    confidence = target.confidence
    for class_id in target.label[target.valid].unique().tolist():
        pixels = target.valid & (target.label == class_id)
        found = target.confidence[pixels]
        least = found.topk(math.ceil(share * len(found))).values[-1]
        trusted = pixels & (target.confidence >= least)
        confidence = torch.where(trusted, confidence.clamp(min=threshold), confidence)
    return target._replace(confidence=confidence)


def share_by_tags(probabilities: Tensor, tags: Tensor) -> Tensor:
    """Share the foreground of each pixel among the tagged classes of its image, as ``share_foreground`` does for one image.

    Args:
        probabilities: (B, C, H, W), summing to 1 over the classes.
        tags: (B, K) of zeros and ones; K is C, or C - 1 where class 0 is the background.

    Returns:
        (B, C, H, W), summing to 1. Where the tagged classes of a pixel are 0 it is background, or as it was where there is none.
    """
    first = probabilities.shape[1] - tags.shape[1]
    shared = probabilities[:, first:] * tags[:, :, None, None]
    total = shared.sum(dim=1, keepdim=True)
    background = probabilities[:, :first]
    room = 1 - background if first else torch.ones_like(total)
    shared = shared * (room / total.clamp(min=torch.finfo(total.dtype).tiny))
    if first:
        return torch.where(
            total > 0, torch.cat([background, shared], dim=1), F.pad(torch.zeros_like(shared), (0, 0, 0, 0, 1, 0), value=1.0)
        )
    return torch.where(total > 0, shared, probabilities)


def box_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn boxes (B, 4) of (top, left, height, width) into (B, H, W) bool; a box of height 0 is none."""
    rows, columns = (torch.arange(side, device=boxes.device) for side in size)
    top, left, height, width = boxes.long().T[:, :, None]
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    return in_rows[:, :, None] & in_columns[:, None, :]


def paste_images(images: Tensor, partners: Tensor, boxes: Tensor) -> Tensor:
    """Take (B, C, H, W) images from their partners inside of boxes (B, H, W) bool: CutMix."""
    return torch.where(boxes[:, None], partners, images)


def confident_loss(logits: Tensor, target: PseudoLabel, threshold: float) -> Tensor:
    """Compare predictions with confident pseudo labels.

    Args:
        logits: (B, C, H, W).
        target: Labels of the same pixels.
        threshold: Pixels of lower confidence add nothing; they count in the mean.

    Returns:
        Scalar: the sum over confident valid pixels over the number of valid ones; 0 when none is valid.

    Source: Yang et al. 2023; unimatch.md 1.4. The published code divides 0 by 0 when none is valid.
    """
    losses = F.cross_entropy(logits.float(), target.label, reduction="none")
    counted = target.valid & (target.confidence >= threshold)
    return (losses * counted).sum() / target.valid.sum().clamp(min=1)


def confident_share(target: PseudoLabel, threshold: float) -> Tensor:
    """Compute the share of valid pixels that are confident (the mask ratio).

    Args:
        target: Label, confidence and validity, (B, H, W) each.
        threshold: Confidence from which a pixel counts.

    Returns:
        Scalar in [0, 1]; 0 when no pixel is valid.
    """
    counted = target.valid & (target.confidence >= threshold)
    return counted.sum() / target.valid.sum().clamp(min=1)


def combine(labelled: Tensor, strong: Sequence[Tensor], perturbed: Tensor | None = None) -> Tensor:
    """Weigh the loss of labelled images and the losses of unlabelled ones, half and half.

    Args:
        labelled: Scalar, shape ().
        strong: Scalars, one for each strong view.
        perturbed: Scalar, the loss of perturbed features, or None.

    Returns:
        Scalar; the unlabelled half is the mean over the strong views, or the mean of that and the loss of perturbed features.

    Source: Yang et al. 2023; unimatch.md 1.4; the weights of unlabelled losses sum to 1 in every variant.
    """
    views = torch.stack(list(strong)).mean()
    unlabelled = views if perturbed is None else (views + perturbed) / 2
    return (labelled + unlabelled) / 2


def ohem_loss(logits: Tensor, labels: Tensor, threshold: float = 0.7, min_kept: int = 200_000) -> Tensor:
    """Average the cross entropy over pixels that are hard: whose true class has a low probability.

    Args:
        logits: (B, C, H, W).
        labels: (B, H, W) integers, 255 where unlabelled.
        threshold: Probability up to which a pixel is kept.
        min_kept: At least so many of the hardest pixels are kept; 0, or more than there are, keeps all.

    Returns:
        Scalar; 0 when no pixel is labelled.

    Source: Yang et al. 2023; unimatch.md 1.4. The published code divides 0 by 0 when no pixel is labelled.
    """
    labels = labels.long()
    labelled = labels != IGNORE
    losses = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")
    kept = labelled
    if 0 < min_kept <= int(labelled.sum()):
        probability = (-losses.detach()).exp().where(labelled, losses.new_ones(()))
        level = max(threshold, float(probability.flatten().kthvalue(min_kept).values))
        kept = labelled & (probability <= level)
    return (losses * kept).sum() / kept.sum().clamp(min=1)


def complementary_masks(images: int, channels: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw the channel masks of two strong views of each image: what one view drops the other keeps, doubled.

    A random half of the images, rounded down, keeps all channels in both views.

    Args:
        images: Images a view.
        channels: Channels of the features.
        generator: Source of the draws; None is torch's own.

    Returns:
        (2 * images, channels) float in {0, 1, 2}: the first view of all images, then the second.

    Source: Yang et al. 2025 (UniMatch V2); unimatch.md 6.
    """
    first = 2 * torch.bernoulli(torch.full((images, channels), 0.5), generator=generator)
    whole = torch.randperm(images, generator=generator)[: images // 2]
    masks = torch.stack([first, 2 - first])
    masks[:, whole] = 1
    return masks.flatten(0, 1)
