"""The DeepLabV3+ head of published semi-supervised checkpoints: full convolutions, BatchNorm, aligned corners."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.encoders.base import conv_bn_relu


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling under the published names: 1 x 1, three dilated 3 x 3, the pooled image, and a projection.

    Args:
        channels: Of the last tap.
        rates: Dilations of the three, cells.
        width: Channels of each branch and of the result.

    Source: Chen et al. 2018; Yang et al. 2023, published code.
    """

    def __init__(self, channels: int, rates: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.b0 = conv_bn_relu(channels, width, 1)
        self.b1, self.b2, self.b3 = (conv_bn_relu(channels, width, 3, dilation=rate) for rate in rates)
        self.b4 = _Pooled(channels, width)
        self.project = conv_bn_relu(5 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features (B, width, h, w) from the last tap (B, channels, h, w)."""
        return self.project(torch.cat([branch(x) for branch in (self.b0, self.b1, self.b2, self.b3, self.b4)], dim=1))


class UniMatchHead(nn.Module):
    """A pyramid on the last tap, then a decoder on the stride-4 tap; logits (B, C, H / 4, W / 4).

    Args:
        low_channels, high_channels: Channels of the stride-4 and of the last tap.
        n_classes: Number of classes.
        rates: Dilations of the pyramid.
        width: Channels inside.

    Source: Yang et al. 2023; unimatch.md 1.2. Names of parameters are those of the published code.
    """

    def __init__(self, low_channels: int, high_channels: int, n_classes: int, rates: tuple[int, ...], width: int = 256) -> None:
        super().__init__()
        self.head = Pyramid(high_channels, rates, width)
        self.reduce = conv_bn_relu(low_channels, 48, 1)
        first, second = conv_bn_relu(width + 48, width, 3), conv_bn_relu(width, width, 3)
        self.fuse = nn.Sequential(*first, *second)
        self.classifier = nn.Conv2d(width, n_classes, 1)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Compute logits (B, n_classes, H / 4, W / 4) from the first tap (B, C, H / 4, W / 4) and the last one (B, C', h, w)."""
        low, high = taps[0], taps[-1]
        context = F.interpolate(self.head(high), size=low.shape[2:], mode="bilinear", align_corners=True)
        return self.classifier(self.fuse(torch.cat([self.reduce(low), context], dim=1)))


def from_published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published checkpoint to those of a ``Segmenter`` with this head.

    Args:
        state: Name -> tensor of any shape; there all that is outside the backbone belongs to ``head``.

    Returns:
        New name -> the same tensor.
    """
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name if name.startswith("backbone.") else f"head.{name}": tensor for name, tensor in plain.items()}


class _Pooled(nn.Module):
    """The mean of the image, at every cell."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_bn_relu(channels, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gap(x).expand(-1, -1, *x.shape[2:])
