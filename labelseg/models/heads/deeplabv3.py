"""The DeepLabV3 head of class-incremental segmenters: it reads the last tap alone, and its logits stay at that size."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.fast.depthwise import replace_dilated_depthwise

# Dilations at each output stride; the last one at stride 8 is the published one, a little less than twice that at stride 16.
RATES: dict[int, tuple[int, ...]] = {8: (12, 24, 32), 16: (6, 12, 18), 32: (3, 6, 9)}
_SLOPE = 0.01


def dilations(output_stride: int) -> tuple[int, ...]:
    """Choose the dilations at an output stride: those of ``RATES``; at another stride they reach as far in pixels as at 16."""
    return RATES.get(output_stride) or tuple(max(rate * 16 // output_stride, 1) for rate in RATES[16])


class DeepLabV3Head(nn.Module):
    """Atrous spatial pyramid pooling, a pooled branch that is added, and one layer of classifiers.

    Args:
        channels: Of the last tap.
        n_classes: Channels of the result, background included.
        rates: Dilations of the three 3x3 convolutions.
        width: Channels inside.
        norm: ``group`` or ``batch``.
        separable: Depthwise-separable 3x3 convolutions: several times cheaper.
        pool: Side of the window, in cells, that the pooled branch averages over in evaluation; 0 averages over the whole map, as training
            does.

    Source: Cermelli et al. 2022 (WILSON), published code; spec wilson 1.2; differs by the normalisation.
    """

    def __init__(self, channels: int, n_classes: int, rates: tuple[int, ...], width: int, norm: str, separable: bool, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.pyramid = nn.ModuleList(
            [nn.Conv2d(channels, width, 1, bias=False), *(_atrous(channels, width, rate, separable) for rate in rates)]
        )
        self.pyramid_norm = _normalisation(norm, width * len(self.pyramid))
        self.project = nn.Conv2d(width * len(self.pyramid), width, 1, bias=False)
        # In training the pooled map is one cell an image: no statistics of a batch or group of one cell.
        self.pooled = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.LeakyReLU(_SLOPE), nn.Conv2d(width, width, 1, bias=False))
        self.norm = _normalisation(norm, width)
        self.classify = nn.Conv2d(width, n_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.classify:
                nn.init.xavier_normal_(module.weight, nn.init.calculate_gain("leaky_relu", _SLOPE))
        replace_dilated_depthwise(self)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Compute logits (B, n_classes, h, w) from the last of the taps (B, C, h, w)."""
        x = taps[-1]
        context = self.pyramid_norm(torch.cat([branch(x) for branch in self.pyramid], dim=1))
        return self.classify(self.norm(self.project(context) + self.pooled(self._average(x))))

    def _average(self, x: Tensor) -> Tensor:
        """Average over the map, or over a sliding window whose results are repeated at the border."""
        height, width = x.shape[2:]
        window = (min(self.pool, height), min(self.pool, width))
        if self.training or self.pool == 0:
            return x.mean(dim=(2, 3), keepdim=True)
        averages = F.avg_pool2d(x, window, stride=1)
        missing = (height - averages.shape[2], width - averages.shape[3])
        padding = (missing[1] // 2, missing[1] - missing[1] // 2, missing[0] // 2, missing[0] - missing[0] // 2)
        return F.pad(averages, padding, mode="replicate")


def _atrous(inputs: int, outputs: int, rate: int, separable: bool) -> nn.Module:
    if not separable:
        return nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate, bias=False)
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=rate, dilation=rate, groups=inputs, bias=False), nn.Conv2d(inputs, outputs, 1, bias=False)
    )


def _normalisation(norm: str, channels: int) -> nn.Sequential:
    layer = nn.GroupNorm(math.gcd(channels, 16), channels) if norm == "group" else nn.BatchNorm2d(channels)
    return nn.Sequential(layer, nn.LeakyReLU(_SLOPE))
