"""The DeepLabV3+ head: atrous spatial pyramid pooling, and a decoder on the stride-4 tap."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.fast.depthwise import replace_dilated_depthwise

Norm = Literal["group", "batch"]


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
        """Compute logits (B, n_classes, H / 4, W / 4) from the first tap (B, C, H / 4, W / 4) and the last one (B, C', h, w)."""
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
