"""One step of PseudoSeg: its views pass through the network, and four losses come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labelseg.class_ids import IGNORE
from labelseg.models.pseudoseg_net import Parts, PseudoSegNet
from labelseg.ops.few_masks.pseudoseg import consistency_loss, segmentation_loss, tag_loss
from labelseg.ops.few_masks.sgc import Scope, fuse, resize_bilinear, resize_nearest

# Curves that are ratios of sums: share of confident pixels, and how often each label is right where that is known.
RATIOS = {
    "mask_ratio": ("confident", "valid"),
    "pseudo_accuracy": ("right", "known"),
    "decoder_accuracy": ("decoder_right", "known"),
    "sgc_accuracy": ("sgc_right", "known"),
}


@dataclass(frozen=True)
class PseudoSegStep:
    """Computes the losses of a batch of ``PairedSamples``.

    Attributes:
        net: The network that the training's module is, or wraps.
        gamma, temperature, normalize, scope: Of the fused label.
        threshold, hard: Of the loss on it.
        given_tags: Take the tags of unlabelled images as given, and train the classifier on them; else predict them.
        weight: Of the unsupervised loss.

    Source: Zou et al. 2021; pseudoseg.md 1.5 to 1.7.
    """

    net: PseudoSegNet
    gamma: float = 0.5
    temperature: float = 0.5
    normalize: bool = True
    scope: Scope = "batch"
    threshold: float = 0.0
    hard: bool = False
    given_tags: bool = False
    weight: float = 1.0

    def __call__(self, module: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute ``loss`` and its four parts, and the counts behind ``RATIOS``."""
        aligned = self.net.align_corners
        labelled = Parts(*module(batch["image"], "parts"))
        size = (labelled.logits.shape[2], labelled.logits.shape[3])
        sgc = self.net.sgc_logits(labelled, batch["tags"], resize_nearest(batch["labelled_valid"], size))
        valid = resize_nearest(batch["valid"], size)
        with torch.no_grad():
            decoder, seen = self._weak(module, batch["weak"])
            unlabelled_tags = batch["unlabelled_tags"] if self.given_tags else (self.net.tag_logits(seen.high).sigmoid() >= 0.5).float()
            spread = resize_bilinear(self.net.sgc_logits(seen, unlabelled_tags, valid), size, aligned)
            options = {"gamma": self.gamma, "normalize": self.normalize, "scope": self.scope}
            # A hard label and its threshold are read off the mean before it is sharpened.
            target = fuse(decoder.float(), spread, temperature=1.0 if self.hard else self.temperature, **options)  # type: ignore[arg-type]
        strong = Parts(*module(batch["strong"], "parts"))
        losses = {
            "loss_labelled": segmentation_loss(labelled.logits, batch["mask"], align_corners=aligned),
            "loss_sgc": segmentation_loss(sgc, batch["mask"], align_corners=aligned),
            "loss_tags": self._tag_loss(module, batch, labelled),
            "loss_consistency": consistency_loss(strong.logits, target, valid, self.threshold, self.hard),
        }
        total = losses["loss_labelled"] + losses["loss_sgc"] + losses["loss_tags"] + self.weight * losses["loss_consistency"]
        return {"loss": total, **losses, **self._watched(target, decoder, spread, valid, resize_nearest(batch["truth"], size))}

    def _weak(self, module: nn.Module, weak: Tensor) -> tuple[Tensor, Parts]:
        """Decode the weak view in training mode, and take what maps are made of in evaluation mode; one pass where these are the same."""
        parts = Parts(*module(weak, "parts"))
        if not has_batch_statistics(self.net):
            return parts.logits, parts
        module.eval()
        seen = Parts(*module(weak, "parts"))
        module.train()
        return parts.logits, seen

    def _tag_loss(self, module: nn.Module, batch: Mapping[str, Tensor], labelled: Parts) -> Tensor:
        """Teach the classifier: by labelled images, or by unlabelled ones where their tags are given."""
        if not self.given_tags:
            return tag_loss(self.net.tag_logits(labelled.high), batch["tags"])
        return tag_loss(self.net.tag_logits(Parts(*module(batch["weak"], "parts")).high), batch["unlabelled_tags"])

    def _watched(self, target: Tensor, decoder: Tensor, spread: Tensor, valid: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Count the pixels behind ``RATIOS``."""
        counted = valid > 0
        known = counted & (truth != IGNORE)
        counts = {
            "valid": counted,
            "confident": counted & (target.amax(dim=1) >= self.threshold),
            "known": known,
            "right": known & (target.argmax(dim=1) == truth),
            "decoder_right": known & (decoder.argmax(dim=1) == truth),
            "sgc_right": known & (spread.argmax(dim=1) == truth),
        }
        return {name: pixels.sum().float() for name, pixels in counts.items()}


def has_batch_statistics(net: PseudoSegNet) -> bool:
    """Whether what backbone and decoder compute depends on the batch in training mode."""
    modules = [*net.backbone.modules(), *net.head.modules()]
    return any(isinstance(module, nn.BatchNorm2d) and module.training for module in modules)
