"""Semantic segmentation networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.errors import UsageError
from labelseg.models.backbones import Backbone
from labelseg.models.deeplabv3 import RATES, DeepLabV3Head
from labelseg.models.depthwise import replace_dilated_depthwise
from labelseg.models.unimatch_head import UniMatchHead

Norm = Literal["group", "batch"]
Head = Literal["atrous", "deeplabv3plus", "deeplabv3", "unimatch"]
Perturb = Callable[[list[Tensor]], list[Tensor]]


class Segmenter(nn.Module):
    """A backbone, a head, and logits enlarged to the size of the image.

    Args:
        backbone: Its last tap is read, by ``deeplabv3plus`` also its stride-4 tap.
        n_classes: Number of classes, background included where the data has one.
        head: ``atrous``: two 3x3 convolutions of rate 12 (psa.md 1.10); ``deeplabv3plus``: Chen et al. 2018; ``deeplabv3``: without the
            stride-4 tap, of class-incremental steps; ``unimatch``: DeepLabV3+ as in the published checkpoints of UniMatch.
        width: Channels inside of the latter three.
        norm: Normalisation of ``deeplabv3plus`` and ``deeplabv3``; ``group`` does not care about the batch size.
        separable: Depthwise-separable 3x3 convolutions there: several times cheaper.
        pool: As in ``DeepLabV3Head``.

    Attributes:
        align_corners: Whether corner cells of logits and image coincide when logits are enlarged.
        last_layer: Name of the convolution that makes logits; it has an output channel for each class.
    """

    def __init__(
        self,
        backbone: Backbone,
        n_classes: int,
        head: Head = "deeplabv3plus",
        width: int = 256,
        norm: Norm = "group",
        separable: bool = False,
        pool: int = 0,
    ) -> None:
        super().__init__()
        self.settings = {"n_classes": n_classes, "head": head, "width": width, "norm": norm, "separable": separable}
        if pool:
            self.settings["pool"] = pool
        self.align_corners = head == "unimatch"
        self.last_layer = "head.classifier" if head == "unimatch" else "head.classify"
        self.backbone = backbone
        self.head: nn.Module
        if head == "atrous":
            self.head = AtrousHead(backbone.channels[-1], n_classes)
        elif head == "deeplabv3":
            rates = RATES[backbone.output_stride]
            self.head = DeepLabV3Head(backbone.channels[-1], n_classes, rates, width, norm, separable, pool)
        elif head == "deeplabv3plus":
            rates = tuple(rate * 16 // backbone.output_stride for rate in (6, 12, 18))
            self.head = DeepLabV3PlusHead(backbone.channels[0], backbone.channels[-1], n_classes, rates, width, norm, separable)
        elif head == "unimatch":
            rates = tuple(rate * 16 // backbone.output_stride for rate in (6, 12, 18))
            self.head = UniMatchHead(backbone.channels[0], backbone.channels[-1], n_classes, rates, width)
        else:
            raise UsageError(f"head of the segmenter: expected atrous, deeplabv3plus, deeplabv3 or unimatch, got {head!r}.")

    def forward(self, x: Tensor, perturb: Perturb | None = None) -> Tensor:
        """Compute logits (B, K, H, W) of normalised images (B, 3, H, W).

        Args:
            x: The images.
            perturb: What is done to the taps before the head sees them; it may return more images than it was given.
        """
        taps = self.backbone(x)
        logits = self.head(taps if perturb is None else perturb(taps)).float()  # bfloat16 would round neighbours to equal values
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=self.align_corners)


class AtrousHead(nn.Module):
    """Two 3x3 convolutions of rate 12 on the last tap.

    Source: Ahn & Kwak 2018, the segmentation network.
    """

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, 512, 3, padding=12, dilation=12)
        self.classify = nn.Conv2d(512, n_classes, 3, padding=12, dilation=12)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)
        for bias in (self.hidden.bias, self.classify.bias):
            nn.init.zeros_(bias)  # type: ignore[arg-type]

    def forward(self, taps: list[Tensor]) -> Tensor:
        return self.classify(self.hidden(taps[-1]).relu())


class DeepLabV3PlusHead(nn.Module):
    """Atrous spatial pyramid pooling on the last tap, then a decoder on the stride-4 tap.

    Source: Chen et al. 2018 (DeepLabv3+).
    """

    def __init__(
        self, low_channels: int, high_channels: int, n_classes: int, rates: tuple[int, ...], width: int, norm: Norm, separable: bool
    ) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(
            [
                _conv_norm_relu(high_channels, width, 1, norm),
                *(_conv_norm_relu(high_channels, width, 3, norm, dilation=rate, separable=separable) for rate in rates),
            ]
        )
        # The pooled map is one cell an image: nothing to take batch statistics of when the batch is one image.
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(high_channels, width, 1), nn.ReLU())
        self.project = _conv_norm_relu(width * (len(self.pyramid) + 1), width, 1, norm)
        self.low = _conv_norm_relu(low_channels, 48, 1, norm)
        self.decode = nn.Sequential(
            _conv_norm_relu(width + 48, width, 3, norm, separable=separable),
            _conv_norm_relu(width, width, 3, norm, separable=separable),
        )
        self.classify = nn.Conv2d(width, n_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]
        replace_dilated_depthwise(self)

    def forward(self, taps: list[Tensor]) -> Tensor:
        low, high = taps[0], taps[-1]
        pooled = self.pooled(high).expand(-1, -1, *high.shape[2:])
        context = self.project(torch.cat([*(branch(high) for branch in self.pyramid), pooled], dim=1))
        context = F.interpolate(context, size=low.shape[2:], mode="bilinear", align_corners=False)
        return self.classify(self.decode(torch.cat([context, self.low(low)], dim=1)))


def _conv_norm_relu(inputs: int, outputs: int, kernel: int, norm: Norm, dilation: int = 1, separable: bool = False) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    if separable:
        convolutions = [
            nn.Conv2d(inputs, inputs, kernel, padding=padding, dilation=dilation, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        ]
    else:
        convolutions = [nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)]
    normalise = nn.GroupNorm(math.gcd(outputs, 16), outputs) if norm == "group" else nn.BatchNorm2d(outputs)
    return nn.Sequential(*convolutions, normalise, nn.ReLU())
