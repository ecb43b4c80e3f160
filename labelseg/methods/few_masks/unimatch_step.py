"""One step of UniMatch and its variants: which views pass through the network, and which losses come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelseg.class_ids import IGNORE
from labelseg.ops.few_masks.unimatch import (
    PseudoLabel,
    box_masks,
    combine,
    complementary_masks,
    confident_loss,
    paste_images,
    pseudo_label,
    trust_class_shares,
)

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Variant:
    """What of UniMatch a training uses.

    Attributes:
        views: Strong views of an unlabelled image; 0 learns from labelled images alone.
        perturbs: Whether the weak view is decoded again from features with dropped channels.
        teacher: Whether an averaged copy of the network labels the weak views.
        complementary: Whether the two strong views see disjoint halves of the channels.
    """

    views: int
    perturbs: bool = False
    teacher: bool = False
    complementary: bool = False

    @property
    def smallest_pass(self) -> int:
        """Images of the smallest forward pass in training mode, for each sample: labelled and weak views, or strong ones."""
        return min(2 if self.perturbs else 1, max(self.views, 1))


VARIANTS = {
    "supervised": Variant(views=0),
    "fixmatch": Variant(views=1),
    "uniperb": Variant(views=1, perturbs=True),
    "dusperb": Variant(views=2),
    "unimatch": Variant(views=2, perturbs=True),
    "unimatch-v2": Variant(views=2, teacher=True, complementary=True),
}
# Curves that are ratios of sums: share of confident pixels, and how many of them are right.
RATIOS = {"mask_ratio": ("confident", "valid"), "pseudo_accuracy": ("right", "known")}


@dataclass(frozen=True)
class UniMatchStep:
    """Computes the losses of a batch of ``PairedSamples``.

    Attributes:
        variant: What is used.
        threshold: Confidence from which a pixel's pseudo label is learned.
        labelled_loss: Maps logits and masks of labelled images to a scalar.
        dropout: Probability with which a channel is dropped for the perturbed features.
        teacher: The averaged network, where the variant has one.
        mixed: Whether the teacher computes in bfloat16, as a training in mixed precision does.
        given_tags: Whether pseudo labels hold to the tags of their image; an extension.
        class_share: Part of each class's pixels that is learned whatever the threshold; an extension.

    Source: Yang et al. 2023, 2025; unimatch.md 1.3, 1.4 and 6. Differs in that only unlabelled features are perturbed (the published code
        perturbs labelled ones too, and discards what comes of it), and in that without perturbed features the weak view passes alone.
        Both matter for batch statistics only.
    """

    variant: Variant
    threshold: float
    labelled_loss: Callable[[Tensor, Tensor], Tensor]
    dropout: float = 0.5
    teacher: nn.Module | None = None
    mixed: bool = False
    given_tags: bool = False
    class_share: float = 0.0

    def __call__(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compute ``loss`` and its parts, and the counts behind ``RATIOS``."""
        if not self.variant.views:
            loss = self.labelled_loss(module(batch["image"]), batch["mask"])
            return {"loss": loss, "loss_labelled": loss}
        labelled, weak, perturbed = self._labelled_and_weak(module, batch)
        partner = self._partner(module, batch, weak)
        strong = self._strong(module, batch, weak, partner)
        losses = {"loss_labelled": self.labelled_loss(labelled, batch["mask"])}
        losses |= {f"loss_strong{view}": loss for view, loss in enumerate(strong, start=1)}
        if perturbed is not None:
            losses["loss_perturbed"] = confident_loss(perturbed, weak, self.threshold)
        total = combine(losses["loss_labelled"], strong, losses.get("loss_perturbed"))
        return {"loss": total, **losses, **watched(weak, batch["truth"], self.threshold)}

    def _labelled_and_weak(self, module: nn.Module, batch: Batch) -> tuple[Tensor, PseudoLabel, Tensor | None]:
        """Decode labelled images, label the weak views, and decode their perturbed features."""
        image, weak = batch["image"], batch["weak"]
        if self.variant.perturbs:
            logits = module(torch.cat([image, weak]), lambda taps: perturb_last(taps, len(weak), self.dropout))
            labelled, clean, perturbed = logits.split([len(image), len(weak), len(weak)])
            return labelled, self._label(clean, batch["valid"], batch), perturbed
        return module(image), self._label(self._unlearned(self.teacher or module, weak), batch["valid"], batch), None

    def _label(self, logits: Tensor, valid: Tensor, batch: Batch) -> PseudoLabel:
        """Label weak views of the batch's unlabelled images."""
        target = pseudo_label(logits, valid, batch["unlabelled_tags"] if self.given_tags else None)
        return trust_class_shares(target, self.class_share, self.threshold)

    def _partner(self, module: nn.Module, batch: Batch, weak: PseudoLabel) -> PseudoLabel:
        """Label what is pasted: the batch moved on by one, or other views of the same images, seen in evaluation mode."""
        if "partner_weak" not in batch:
            return weak.rolled()
        net = self.teacher or module
        was_training = net.training
        net.eval()
        logits = self._unlearned(net, batch["partner_weak"])
        net.train(was_training)
        return self._label(logits, batch["partner_valid"], batch)

    def _unlearned(self, net: nn.Module, images: Tensor) -> Tensor:
        """Compute logits without gradients."""
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=self.mixed and net is self.teacher):
            return net(images)

    def _strong(self, module: nn.Module, batch: Batch, weak: PseudoLabel, partner: PseudoLabel) -> list[Tensor]:
        """Paste, decode and compare the strong views."""
        size = (batch["weak"].shape[2], batch["weak"].shape[3])
        images, targets = [], []
        for view in range(1, self.variant.views + 1):
            boxes = box_masks(batch[f"box{view}"], size)
            own = batch[f"strong{view}"]
            images.append(paste_images(own, batch.get(f"partner_strong{view}", own.roll(1, 0)), boxes))
            targets.append(weak.pasted(partner, boxes))
        perturb = complementary_dropout if self.variant.complementary else None
        predictions = module(torch.cat(images), perturb).chunk(len(images))
        return [confident_loss(logits, target, self.threshold) for logits, target in zip(predictions, targets, strict=True)]


def perturb_last(taps: list[Tensor], count: int, dropout: float) -> list[Tensor]:
    """Append to the first and the last tap the features of the last ``count`` images with channels dropped, each tap on its own.

    Args:
        taps: (B, C, h, w) each.
        count: Number of images; at most B.
        dropout: Probability that a channel is dropped.

    Returns:
        (B + count, C, h, w) each; the taps between are appended unchanged.

    Source: Yang et al. 2023; unimatch.md 1.2: the first and the last are the two taps that its decoder reads.
    """
    dropped = [F.dropout2d(tap[-count:], dropout) if place in (0, len(taps) - 1) else tap[-count:] for place, tap in enumerate(taps)]
    return [torch.cat(pair) for pair in zip(taps, dropped, strict=True)]


def complementary_dropout(taps: list[Tensor]) -> list[Tensor]:
    """Give the two halves of the batch, two views of the same images, complementary channels; taps of equal width share a mask.

    Args:
        taps: (2 * B, C, h, w) each, the second view after the first.

    Returns:
        (2 * B, C, h, w) each: kept channels count twice, dropped ones are 0; some images keep everything.

    Source: Yang et al. 2025 (UniMatch V2); unimatch.md 6. There all taps have one width.
    """
    images = len(taps[0]) // 2
    # One draw decides which images keep everything, at all taps.
    widest = complementary_masks(images, max(tap.shape[1] for tap in taps))
    return [tap * widest[:, : tap.shape[1], None, None].to(tap) for tap in taps]


def watched(weak: PseudoLabel, truth: Tensor, threshold: float) -> dict[str, Tensor]:
    """Count the pixels behind ``RATIOS``.

    Args:
        weak: Label and confidence of the weak views, (B, H, W) each.
        truth: (B, H, W) class ids, 255 where nobody knows.
        threshold: Confidence from which a pixel is learned.

    Returns:
        Float scalars of shape (): ``valid`` pixels, those of them ``confident``, of these the ones whose truth is
        ``known``, and of these the ones that are ``right``.
    """
    confident = weak.valid & (weak.confidence >= threshold)
    known = confident & (truth != IGNORE)
    right = known & (weak.label == truth)
    counts = {"valid": weak.valid, "confident": confident, "known": known, "right": right}
    return {name: pixels.sum().float() for name, pixels in counts.items()}
