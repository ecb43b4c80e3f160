"""The networks of a WILSON step: a localizer of its own, beside the segmenter that learns and the one before."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.segmenter import Segmenter
from labelseg.ops.new_classes.wilson import softmax_as_sigmoid
from labelseg.ops.new_classes.wilson_step import StepOutputs

_SLOPE = 0.01


class Localizer(nn.Module):
    """Three convolutions on the last tap that locate classes; used in training alone, and made anew at every step.

    Args:
        channels: Of the last tap.
        n_classes: Channels of the result, background included.
        width: Channels inside.

    Source: Cermelli et al. 2022 (WILSON); spec wilson 1.2.
    """

    def __init__(self, channels: int, n_classes: int, width: int = 256) -> None:
        super().__init__()
        self.settings = {"channels": channels, "n_classes": n_classes, "width": width}
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, n_classes, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits (B, T, h, w) of features (B, C, h, w)."""
        return self.layers(features)


class StepNetwork(nn.Module):
    """New segmenter, localizer and old segmenter, run together; all maps come at the size of the last tap.

    Args:
        segmenter: Learns.
        localizer: Learns; reads the new segmenter's backbone, which learns from it too.
        old: The segmenter before the step; no part of the state, always in evaluation mode.
        old_softmax: Whether the old one was trained with softmax; its logits are then turned into those of a sigmoid.
        warmup: Updates before pseudo labels are made.

    Attributes:
        updates: Updates that were begun: part of the state, so that a resumed training goes on at the right one.
    """

    updates: Tensor

    def __init__(self, segmenter: Segmenter, localizer: Localizer, old: Segmenter, old_softmax: bool = False, warmup: int = 0) -> None:
        super().__init__()
        self.segmenter, self.localizer, self.old_softmax, self.warmup = segmenter, localizer, old_softmax, warmup
        self._old = (old.eval().requires_grad_(False),)  # in a tuple, so that it is neither trained nor saved
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def _apply(self, fn: Any, recurse: bool = True) -> StepNetwork:
        """Move the old segmenter with the others."""
        self.old._apply(fn, recurse)
        return super()._apply(fn, recurse)

    @property
    def old(self) -> Segmenter:
        """The segmenter before the step."""
        return self._old[0]

    def forward(self, x: Tensor) -> StepOutputs:
        """Compute everything a step needs of normalised images (B, 3, H, W)."""
        features, logits = _run(self.segmenter, x)
        with torch.no_grad():
            old_features, old_logits = _run(self.old, x)
        localizer_eval = None
        if not self.training or int(self.updates) >= self.warmup:
            localizer_eval = self._evaluated(features.detach())
        if self.training:
            self.updates += 1
        return StepOutputs(
            logits.float(),
            features.float(),
            (softmax_as_sigmoid(old_logits.float()) if self.old_softmax else old_logits.float()),
            old_features.float(),
            self.localizer(features).float(),
            localizer_eval,
        )

    @torch.no_grad()
    def _evaluated(self, features: Tensor) -> Tensor:
        """Run the localizer in evaluation mode; its statistics stay."""
        self.localizer.eval()
        logits = self.localizer(features).float()
        self.localizer.train(self.training)
        # Before torch 2.10 autocast hands out weights that it cast here again, without gradients, to the pass that trains.
        torch.clear_autocast_cache()
        return logits


def _run(segmenter: Segmenter, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the last tap, and the logits at its size."""
    taps = segmenter.backbone(x)
    logits = segmenter.head(taps)
    size = taps[-1].shape[2:]
    return taps[-1], logits if logits.shape[2:] == size else F.interpolate(logits, size=size, mode="area")
