"""A small network for small scenes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone, conv_bn_relu


class TinyNet(Backbone):
    """A small residual network (0.5 M parameters) that trains from random weights in a minute on small scenes."""

    name = "tiny"
    stem_channels = 24
    channels = (24, 48, 96, 160)

    def __init__(self, output_stride: int, dilate: bool = True) -> None:
        super().__init__(output_stride, dilate)
        early, low, middle, high = self.channels
        self.stem = nn.Sequential(conv_bn_relu(3, 16, stride=2), conv_bn_relu(16, self.stem_channels, stride=2))
        self.early = nn.Sequential(_Residual(early))
        self.low = nn.Sequential(conv_bn_relu(early, low, stride=2), _Residual(low, convolutions=1))
        self.middle = nn.Sequential(conv_bn_relu(low, middle, stride=2), _Residual(middle, convolutions=1))
        self.high = nn.Sequential(conv_bn_relu(middle, high, stride=2), _Residual(high, convolutions=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """List the blocks of the five levels, in the order in which they are applied."""
        return [list(level) for level in (self.stem, self.early, self.low, self.middle, self.high)]


class _Residual(nn.Module):
    """``relu(x + f(x))`` with f of one or two convolutions."""

    def __init__(self, channels: int, convolutions: int = 2) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(conv_bn_relu(channels, channels) for _ in range(convolutions - 1)),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.inner(x))
