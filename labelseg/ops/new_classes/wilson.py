"""Losses and targets of a WILSON step: new classes from image labels, old ones from the segmenter before.

Channels follow the order in which classes were learned: background, then the old classes, then the new ones. Of T channels
O are old, background included, and N = T - O are new. Image labels ``y`` are (B, T - 1), without background, in the same order.
All maps share one size, that of the features.

Source: Cermelli et al. 2022 (WILSON) and its published code; spec wilson 1.5.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labelseg.class_ids import IGNORE

# Of the focal term: exponent, and what keeps the logarithm finite.
FOCAL_POWER, FOCAL_FLOOR = 3, 0.01
# A class is seeded where it exceeds this share of its maximum, and the floor: foreground, background, floor.
SEED_SHARES = (0.6, 0.7, 0.2)


def pool_scores(logits: Tensor) -> Tensor:
    """Pool the localizer's logits into one logit a class: global weighted pooling, and a penalty for small areas.

    With m the softmax over channels: ``sum_i m_i z_i / (1 + sum_i m_i) + (1 - mean m)^3 ln(0.01 + mean m)``.

    Args:
        logits: (B, T, h, w).

    Returns:
        (B, T) logits.
    """
    area = logits.softmax(dim=1).mean(dim=(2, 3))
    return weighted_pooling(logits) + (1 - area) ** FOCAL_POWER * torch.log(FOCAL_FLOOR + area)


def weighted_pooling(logits: Tensor) -> Tensor:
    """Average the logits of each class over the pixels that the softmax gives it: ``sum_i m_i z_i / (1 + sum_i m_i)``; (B, T)."""
    weights = logits.softmax(dim=1)
    return (weights * logits).sum(dim=(2, 3)) / (1 + weights.sum(dim=(2, 3)))


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compare the pooled scores of the last classes with image labels: L_CLS, binary cross entropy.

    Args:
        logits: (B, T, h, w) of the localizer.
        labels: (B, K) in [0, 1], of the last K channels.

    Returns:
        Scalar mean over images and classes.
    """
    return F.binary_cross_entropy_with_logits(pool_scores(logits)[:, -labels.shape[1] :], labels.float())


def prior_loss(logits: Tensor, old_logits: Tensor) -> Tensor:
    """Hold the localizer's old channels, background among them, to the old segmenter's probabilities: L_LOC.

    Args:
        logits: (B, T, h, w) of the localizer.
        old_logits: (B, O, h, w) of the old segmenter.

    Returns:
        Scalar mean of the binary cross entropy over images, pixels and old channels.
    """
    return F.binary_cross_entropy_with_logits(logits[:, : old_logits.shape[1]], old_logits.sigmoid())


def feature_loss(features: Tensor, old_features: Tensor) -> Tensor:
    """Compute L_ENC, which holds the encoder to what it was: the mean squared difference over all elements of (B, F, h, w); a scalar."""
    return F.mse_loss(features, old_features)


def present_scores(scores: Tensor, labels: Tensor) -> Tensor:
    """Silence the classes that the image labels rule out.

    Args:
        scores: (B, T, h, w) softmax of the localizer, refined or not.
        labels: (B, T - 1) in {0, 1}; old classes are 0 unless their labels are used.

    Returns:
        (B, T, h, w): background as it is, other channels times their label; not normalised again.
    """
    present = torch.cat([torch.ones_like(labels[:, :1]), labels], dim=1)
    return scores * present[:, :, None, None].to(scores.dtype)


def seed_masks(scores: Tensor, shares: tuple[float, float, float] = SEED_SHARES, drop_ambiguous: bool = True) -> Tensor:
    """Pick the pixels where a class is sure: ``score > max(floor, share * maximum over the image)``.

    Args:
        scores: (B, T, h, w) of the present classes.
        shares: Of a foreground class, of background; and the floor.
        drop_ambiguous: Whether a pixel claimed by several classes belongs to none.

    Returns:
        (B, T, h, w) of zeros and ones, dtype of ``scores``.
    """
    foreground, background, floor = shares
    share = torch.full((scores.shape[1], 1, 1), foreground, dtype=scores.dtype, device=scores.device)
    share[0] = background
    seeds = (scores > (scores.amax(dim=(2, 3), keepdim=True) * share).clamp(min=floor)).to(scores.dtype)
    return seeds * (seeds.sum(dim=1, keepdim=True) <= 1) if drop_ambiguous else seeds


class GatedLoss(NamedTuple):
    """A loss that some images do not count in, and the share of those that do."""

    loss: Tensor
    gate: Tensor


def balanced_cross_entropy(logits: Tensor, seeds: Tensor, labels: Tensor) -> GatedLoss:
    """Train the localizer on its own sure pixels, each class weighted by how many pixels are not its own: L_SSS.

    An image counts only if background and every present class have a pixel; others add 0 to the mean.

    Args:
        logits: (B, T, h, w) of the localizer; resized to the seeds where sizes differ (bilinear, corners aligned).
        seeds: (B, T, H, W) of zeros and ones, at most one class a pixel.
        labels: (B, T - 1) in {0, 1}.

    Returns:
        Scalar mean over all pixels and images; the share of images that count.
    """
    if logits.shape[2:] != seeds.shape[2:]:
        logits = F.interpolate(logits, size=seeds.shape[2:], mode="bilinear", align_corners=True)
    counts = seeds.sum(dim=(2, 3))
    total = counts.sum(dim=1, keepdim=True)
    weights = (total - counts) / (1 + total)
    entropy = -(logits.log_softmax(dim=1) * seeds * weights[:, :, None, None]).sum(dim=1)
    counted = ((counts > 0).sum(dim=1) == 1 + labels.sum(dim=1)).to(logits.dtype)
    return GatedLoss((entropy.mean(dim=(1, 2)) * counted).mean(), counted.mean())


def hard_masks(scores: Tensor) -> Tensor:
    """Mark the strongest of the present classes at each pixel: (B, T, h, w) of zeros and ones; several of a tie."""
    return (scores >= scores.amax(dim=1, keepdim=True)).to(scores.dtype)


def soft_labels(scores: Tensor, alpha: float) -> Tensor:
    """Mix hard and soft labels: ``alpha * hard + (1 - alpha) * scores``.

    Args:
        scores: (B, T, h, w) of the present classes.
        alpha: In [0, 1].
    """
    return alpha * hard_masks(scores) + (1 - alpha) * scores


def compose_target(soft: Tensor, old_logits: Tensor, background_mix: float = -1.0) -> Tensor:
    """Put the segmenter's target together: old classes from the old segmenter, new ones from the localizer.

    Args:
        soft: (B, T, h, w) soft labels q.
        old_logits: (B, O, h, w) of the old segmenter.
        background_mix: r in [0, 1] takes ``(1 - r) old + r q`` for background; negative takes the lower of the two.

    Returns:
        (B, T, h, w) in [0, 1]; not a distribution.
    """
    old = old_logits.sigmoid()
    if background_mix < 0:
        background = torch.minimum(old[:, :1], soft[:, :1])
    else:
        background = (1 - background_mix) * old[:, :1] + background_mix * soft[:, :1]
    return torch.cat([background, old[:, 1:], soft[:, old.shape[1] :]], dim=1)


def guided_target(cover: Tensor, old_logits: Tensor) -> Tensor:
    """Put the segmenter's target together with masks that tell where the new classes are: an extension.

    New classes are what the masks cover of a cell. What is left of it belongs to the old segmenter: its classes count as much as
    there is room, and background no more than that.

    Args:
        cover: (B, T, h, w) in [0, 1], the share of each cell's pixels that a class has; sums to less than 1 where masks say nothing.
        old_logits: (B, O, h, w) of the old segmenter.

    Returns:
        (B, T, h, w) in [0, 1]; not a distribution. Where masks say nothing of a cell, new classes are 0.
    """
    old = old_logits.sigmoid()
    new = cover[:, old.shape[1] :] / cover.sum(dim=1, keepdim=True).clamp(min=torch.finfo(cover.dtype).eps)
    room = 1 - new.sum(dim=1, keepdim=True)
    return torch.cat([torch.minimum(old[:, :1], room), old[:, 1:] * room, new], dim=1)


def segmentation_loss(logits: Tensor, target: Tensor, soft: Tensor, labels: Tensor, weights: Tensor | None = None) -> GatedLoss:
    """Train the segmenter on the composed target: L_SEG, binary cross entropy summed over channels.

    An image counts only if exactly its present new classes have a pixel in the soft labels; with alpha < 1 all do.

    Args:
        logits: (B, T, h, w) of the new segmenter.
        target: (B, T, h, w) in [0, 1].
        soft: (B, T, h, w) soft labels, of which the last K channels decide whether an image counts.
        labels: (B, K) in {0, 1}, of the new classes.
        weights: (B, h, w) of single pixels; None counts all alike.

    Returns:
        Scalar mean over counted images and over pixels; the share of images that count.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
    if weights is not None:
        entropy = entropy * weights
    has_pixels = soft[:, -labels.shape[1] :].sum(dim=(2, 3)) > 0
    counted = (has_pixels == (labels == 1)).all(dim=1).to(logits.dtype)
    return GatedLoss((entropy.mean(dim=(1, 2)) * counted).sum() / (counted.sum() + 1e-5), counted.mean())


def dense_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Train on masks: binary cross entropy summed over channels, of step 0.

    Args:
        logits: (B, T, H, W).
        labels: (B, H, W) integers in 0 .. T - 1, or 255 where the pixel does not count.

    Returns:
        Scalar mean over all pixels, those of 255 as zeros.
    """
    known = labels != IGNORE
    entropy = F.binary_cross_entropy_with_logits(logits, one_hot(labels, logits.shape[1]), reduction="none")
    return (entropy.sum(dim=1) * known).mean()


def one_hot(labels: Tensor, n_channels: int) -> Tensor:
    """Turn (B, H, W) labels into (B, T, H, W) float of zeros and ones; pixels of 255 are zero everywhere."""
    known = labels != IGNORE
    hot = F.one_hot(torch.where(known, labels, 0).long(), n_channels).movedim(-1, 1).float()
    return hot * known[:, None]


def softmax_as_sigmoid(logits: Tensor) -> Tensor:
    """Turn the logits of a softmax into those of a sigmoid with the same probabilities: ``ln p / (1 - p)``.

    Args:
        logits: (B, O, h, w) of a segmenter trained with softmax, O at least 2.
    """
    others = torch.stack([torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(dim=1) for k in range(logits.shape[1])], dim=1)
    return logits - others


def grow_classifier(weight: Tensor, bias: Tensor, n_new: int, balanced: bool = False) -> tuple[Tensor, Tensor]:
    """Add channels to the last layer of a segmenter; one layer for all is the same as one for each step.

    Args:
        weight: (O, C, k, k); channel 0 is background.
        bias: (O,).
        n_new: Number of new classes.
        balanced: Whether new channels begin as copies of background that share its probability, rather than at random as any new
            layer does.

    Returns:
        (O + N, C, k, k) and (O + N,).

    Source: spec wilson 1.7; balanced as in Cermelli et al. 2020 (MiB).
    """
    if balanced:
        share = torch.log(torch.tensor(n_new + 1.0, dtype=bias.dtype))
        new_weight, new_bias = weight[:1].expand(n_new, -1, -1, -1), (bias[:1] - share).expand(n_new)
        bias = torch.cat([bias[:1] - share, bias[1:]])
    else:
        fresh = torch.nn.Conv2d(weight.shape[1], n_new, tuple(weight.shape[2:]))  # type: ignore[arg-type]
        new_weight, new_bias = fresh.weight.detach(), fresh.bias.detach()  # type: ignore[union-attr]
    return torch.cat([weight, new_weight]), torch.cat([bias, new_bias])
