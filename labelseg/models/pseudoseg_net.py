"""A segmenter with what PseudoSeg adds: an image classifier on its last tap, and attention between positions."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone
from labelseg.models.heads.deeplabv3plus import Norm
from labelseg.models.segmenter import Head, Segmenter
from labelseg.ops.few_masks.sgc import attend, linear_cam, propagate_maps, resize_bilinear, resize_nearest


class Parts(NamedTuple):
    """What the network knows of images.

    Attributes:
        logits: (B, C, h4, w4) of the decoder, at its own grid.
        high, low: The last and the second last tap.
    """

    logits: Tensor
    high: Tensor
    low: Tensor


class PseudoSegNet(Segmenter):
    """A segmenter whose encoder also predicts tags, and spreads its class activation maps by attention (SGC).

    Called on images alone it is a segmenter.

    Args:
        backbone, n_classes, head, width, norm, separable: Of the segmenter.
        background: Whether class 0 is the background, which has no tag and no activation map.
        key_width: Channels that positions are compared in.

    Source: Zou et al. 2021; pseudoseg.md 1.2.
    """

    def __init__(
        self,
        backbone: Backbone,
        n_classes: int,
        head: Head = "deeplabv3plus",
        width: int = 256,
        norm: Norm = "group",
        separable: bool = False,
        background: bool = True,
        key_width: int = 128,
    ) -> None:
        super().__init__(backbone, n_classes, head, width, norm, separable)
        self.settings |= {"background": background, "key_width": key_width}
        self.background = background
        self.tagger = nn.Linear(backbone.channels[-1], n_classes - background)
        self.sgc = SgcHead(backbone.channels[-1] + backbone.channels[-2], n_classes, key_width, background)

    def forward(self, x: Tensor, mode: Literal["segment", "parts"] = "segment") -> Tensor | Parts:  # type: ignore[override]
        """Compute logits (B, C, H, W) of normalised images (B, 3, H, W), or their ``Parts``."""
        if mode == "segment":
            return super().forward(x)
        taps = self.backbone(x)
        return Parts(self.head(taps), taps[-1], taps[-2])

    def tag_logits(self, high: Tensor) -> Tensor:
        """Compute the logit of each tag (B, K) from the last tap."""
        return self.tagger(high.float().mean(dim=(2, 3)))

    def cam(self, high: Tensor, tags: Tensor) -> Tensor:
        """Compute the activation maps (B, K, h, w) in [0, 1] of the tags (B, K) given; without gradients."""
        return linear_cam(high.float(), self.tagger.weight, tags)

    def sgc_logits(self, parts: Parts, tags: Tensor, valid: Tensor) -> Tensor:
        """Spread the activation maps of the tags given and turn them into class logits.

        Args:
            parts: Of the images; only the attention and what follows it get gradients.
            tags: (B, K) in {0, 1}.
            valid: (B, h4, w4) in {0, 1} at the grid of the decoder.

        Returns:
            (B, C, h, w) at the grid of the last tap.
        """
        high, low = parts.high.detach().float(), parts.low.detach().float()
        low = resize_bilinear(low, (high.shape[2], high.shape[3]), self.align_corners)
        cells = resize_nearest(valid, (high.shape[2], high.shape[3]))
        return self.sgc(torch.cat([high, low], dim=1), self.cam(high, tags), cells)


class SgcHead(nn.Module):
    """Three 1 x 1 convolutions: keys and queries of positions, and a mixture of classes after the spread.

    The mixture begins as the identity: the spread maps are then class logits before the first update. From random weights a short training
    on few masks ends before every class has found its own map.

    Source: Zou et al. 2021; pseudoseg.md 1.2 and 1.4; the identity is ours.
    """

    def __init__(self, channels: int, n_classes: int, key_width: int, background: bool = True) -> None:
        super().__init__()
        self.background = background
        self.key = nn.Conv2d(channels, key_width, 1, bias=False)
        self.query = nn.Conv2d(channels, key_width, 1, bias=False)
        self.mix = nn.Conv2d(n_classes, n_classes, 1, bias=False)
        self.norm = ShiftNorm(n_classes)
        for module in (self.key, self.query):
            nn.init.xavier_uniform_(module.weight)
        nn.init.dirac_(self.mix.weight)

    def forward(self, column: Tensor, cam: Tensor, valid: Tensor) -> Tensor:
        """Compute class logits (B, C, h, w) of features (B, F, h, w), activation maps (B, K, h, w) and validity (B, h, w)."""
        attended = attend(cam, self.query(column), self.key(column), valid)
        return self.norm(self.mix(propagate_maps(cam, attended, self.background)))


class ShiftNorm(nn.BatchNorm2d):
    """BatchNorm with a shift and no scale, whose running statistics are a plain mean at first.

    After k batches a new one counts 1 / (k + 1), but never less than 1 - ``decay``: a training of a few hundred updates would otherwise end
    with statistics near their initial values. Statistics loaded without their count, such as those of a model, count as many batches.

    Source: Zou et al. 2021; pseudoseg.md 1.2; the plain mean at the beginning is ours.
    """

    def __init__(self, channels: int, decay: float = 0.999) -> None:
        super().__init__(channels, eps=1e-3, momentum=1 - decay)
        self.decay = decay
        self.weight.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load statistics; without their count they are no initial values to be forgotten at the first batch."""
        uncounted = f"{prefix}running_mean" in state_dict and f"{prefix}num_batches_tracked" not in state_dict
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if uncounted and self.num_batches_tracked is not None:
            self.num_batches_tracked.fill_(math.ceil(1 / (1 - self.decay)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, h, w) to the same shape; in training the running statistics move on."""
        if self.training:
            seen = 0 if self.num_batches_tracked is None else int(self.num_batches_tracked)
            self.momentum = max(1 - self.decay, 1 / (seen + 1))
        return super().forward(x)
