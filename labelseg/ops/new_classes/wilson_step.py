"""One iteration of a WILSON step: from the outputs of old segmenter, new segmenter and localizer to all losses.

Source: Cermelli et al. 2022 (WILSON) and its published code; spec wilson 1.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labelseg.ops.new_classes.pamr import pamr
from labelseg.ops.new_classes.wilson import (
    balanced_cross_entropy,
    classification_loss,
    compose_target,
    feature_loss,
    guided_target,
    one_hot,
    present_scores,
    prior_loss,
    seed_masks,
    segmentation_loss,
    soft_labels,
)


class StepOutputs(NamedTuple):
    """What the networks say of a batch, all at the size of the features.

    Attributes:
        logits: (B, T, h, w) of the new segmenter.
        features: (B, C, h, w) of its encoder.
        old_logits: (B, O, h, w) of the old segmenter, as of a sigmoid; without gradient.
        old_features: (B, C, h, w) of the old encoder; without gradient.
        localizer: (B, T, h, w) logits in training mode.
        localizer_eval: (B, T, h, w) logits in evaluation mode, without gradient; pseudo labels are made of these. None in the warm-up.
    """

    logits: Tensor
    features: Tensor
    old_logits: Tensor
    old_features: Tensor
    localizer: Tensor
    localizer_eval: Tensor | None


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How the losses are put together.

    Attributes:
        alpha: Share of the hard labels in the soft ones.
        all_tags: Whether labels of old classes are used too.
        background_mix: As in ``compose_target``.
        refine: Whether the localizer's own labels go through PAMR.
        feature_weight: Weight of L_ENC.
        mean, std: What images were normalised by, to undo it for PAMR.
    """

    alpha: float = 0.5
    all_tags: bool = False
    background_mix: float = -1.0
    refine: bool = True
    feature_weight: float = 1.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class MaskKind(IntEnum):
    """What the mask of an image is to a step.

    Attributes:
        NONE: There is none.
        TRUE: True of all classes: the target is the mask.
        NEW_CLASSES: Tells where the new classes are and says nothing of others: it takes the place of the localizer in the target.
    """

    NONE = 0
    TRUE = 1
    NEW_CLASSES = 2


class DenseMasks(NamedTuple):
    """Masks of the images of a batch that have one.

    Attributes:
        masks: (B, H, W) channels, or 255 where a pixel does not count.
        kinds: (B,) integers, the ``MaskKind`` of each image.
    """

    masks: Tensor
    kinds: Tensor


class Targets(NamedTuple):
    """What a step makes of the localizer: all (B, T, h, w), without gradient.

    Attributes:
        seeds: Sure pixels of each class, for the localizer itself.
        soft: Soft labels q.
        target: What the segmenter learns.
    """

    seeds: Tensor
    soft: Tensor
    target: Tensor


@torch.no_grad()
def make_targets(localizer_eval: Tensor, old_logits: Tensor, image: Tensor, labels: Tensor, settings: StepSettings) -> Targets:
    """Make the pseudo labels of a batch.

    Args:
        localizer_eval: (B, T, h, w) logits.
        old_logits: (B, O, h, w) logits as of a sigmoid.
        image: (B, 3, H, W) normalised.
        labels: (B, T - 1) image labels; those of old classes are 0 unless they are used.
        settings: How.
    """
    scores = localizer_eval.softmax(dim=1)
    refined = pamr(small_image(image, scores.shape[2:], settings), scores) if settings.refine else scores
    soft = soft_labels(present_scores(scores, labels), settings.alpha)
    return Targets(seed_masks(present_scores(refined, labels)), soft, compose_target(soft, old_logits, settings.background_mix))


def small_image(image: Tensor, size: torch.Size, settings: StepSettings) -> Tensor:
    """Undo the normalisation of images (B, 3, H, W) and bring them to the size of the features, for PAMR."""
    mean, std = (torch.tensor(values, dtype=image.dtype, device=image.device)[:, None, None] for values in (settings.mean, settings.std))
    return F.interpolate(image * std + mean, size=size, mode="bilinear", align_corners=True)


def step_losses(
    outputs: StepOutputs, image: Tensor, labels: Tensor, settings: StepSettings, dense: DenseMasks | None = None
) -> dict[str, Tensor]:
    """Compute the losses of one iteration.

    In the warm-up the segmenter's output takes part times zero: its decoder gets gradients of zero rather than none, so that weight
    decay acts on it all the same.

    Args:
        outputs: What the networks say; without ``localizer_eval`` this is the warm-up.
        image: (B, 3, H, W) normalised.
        labels: (B, T - 1) image labels in the order of channels.
        settings: How.
        dense: Masks of some of the images, from which their target is made.

    Returns:
        Scalars: ``loss``, the sum; ``cls``, ``loc``, ``enc`` and after the warm-up ``sss`` and ``seg``, with ``sss_gate`` and
        ``seg_gate``, the shares of images that counted in them.
    """
    n_old = outputs.old_logits.shape[1]
    new_labels = labels[:, n_old - 1 :]
    kept = labels if settings.all_tags else F.pad(new_labels, (n_old - 1, 0))
    losses = {
        "cls": classification_loss(outputs.localizer, labels if settings.all_tags else new_labels),
        "loc": prior_loss(outputs.localizer, outputs.old_logits),
        "enc": feature_loss(outputs.features, outputs.old_features),
    }
    total = losses["cls"] + losses["loc"] + settings.feature_weight * losses["enc"]
    if outputs.localizer_eval is None:
        return {"loss": total + 0.0 * outputs.logits.mean(), **losses}
    targets = make_targets(outputs.localizer_eval, outputs.old_logits, image, kept, settings)
    own = balanced_cross_entropy(outputs.localizer, targets.seeds, kept)
    target, weights = _with_masks(targets.target, outputs.old_logits, dense)
    seg = segmentation_loss(outputs.logits, target, _counting(targets.soft, labels, dense), new_labels, weights)
    losses |= {"sss": own.loss, "seg": seg.loss, "sss_gate": own.gate, "seg_gate": seg.gate}
    return {"loss": total + own.loss + seg.loss, **losses}


def _with_masks(target: Tensor, old_logits: Tensor, dense: DenseMasks | None) -> tuple[Tensor, Tensor | None]:
    """Put what follows from masks in place of the target where there are any; also the weights of pixels."""
    if dense is None:
        return target, None
    weights = torch.ones_like(target[:, 0])
    small = F.interpolate(dense.masks[:, None].float(), size=target.shape[2:], mode="nearest")[:, 0].long()
    truth = one_hot(small, target.shape[1])
    cover = F.interpolate(one_hot(dense.masks.long(), target.shape[1]), size=target.shape[2:], mode="area")
    for kind, made, counted in (
        (MaskKind.TRUE, truth, truth.sum(dim=1)),
        (MaskKind.NEW_CLASSES, guided_target(cover, old_logits), cover.sum(dim=1)),
    ):
        here = (dense.kinds == kind)[:, None, None]
        target, weights = torch.where(here[:, None], made, target), torch.where(here, counted, weights)
    return target, weights


def _counting(soft: Tensor, labels: Tensor, dense: DenseMasks | None) -> Tensor:
    """Let every image whose mask teaches the new classes count, also where its crop shows none of them."""
    if dense is None:
        return soft
    present = F.pad(labels, (1, 0), value=1.0)[:, :, None, None].to(soft.dtype).expand_as(soft)
    return torch.where((dense.kinds == MaskKind.NEW_CLASSES)[:, None, None, None], present, soft)
