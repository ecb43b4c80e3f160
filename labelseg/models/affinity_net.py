"""Networks that predict which neighbouring pixels belong together: pixel features (AffinityNet) or boundaries (IRN)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone
from labelseg.ops.affinity.boundary import path_affinities
from labelseg.ops.affinity.pairs import Offset
from labelseg.ops.affinity.psa import pair_affinities


class AffinityNet(nn.Module):
    """Pixel features on the stride-8 grid; two cells have affinity ``exp(-mean |f_i - f_j|)``.

    Args:
        backbone: Its last three taps are reduced, resized to stride 8 and concatenated.
        widths: Channels of the three reductions; the feature has their sum.
        norm: ``group`` puts GroupNorm of 8 channels a group after each reduction.

    Attributes:
        stride: Pixels between cells of the grid.

    Source: Ahn & Kwak 2018; psa.md 1.7. Taps coarser than stride 8 are enlarged bilinearly; the published backbone has none.
    """

    stride = 8

    def __init__(self, backbone: Backbone, widths: tuple[int, int, int] = (64, 128, 256), norm: Literal["none", "group"] = "none") -> None:
        super().__init__()
        self.settings = {"widths": list(widths), "norm": norm}
        self.backbone = backbone
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), _group_norm(width) if norm == "group" else nn.Identity(), nn.ELU())
            for channels, width in zip(backbone.channels[1:], widths, strict=True)
        )
        mix = nn.Conv2d(sum(widths), sum(widths), 1, bias=False)
        self.mix = nn.Sequential(mix, nn.ELU())
        for module in self.reduce.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.xavier_uniform_(mix.weight, gain=4)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features (B, sum of widths, ceil(H / 8), ceil(W / 8)) of normalised images (B, 3, H, W)."""
        size = tuple(math.ceil(side / 8) for side in x.shape[2:])
        taps = self.backbone(x)[1:]
        return self.mix(torch.cat([_resize(reduce(tap), size) for reduce, tap in zip(self.reduce, taps, strict=True)], dim=1))

    @staticmethod
    def pair_affinities(outputs: Tensor, offsets: Sequence[Offset]) -> Tensor:
        """Turn what the network gives for B images into affinities (B, n_offsets, h, w)."""
        return pair_affinities(outputs, offsets)

    @classmethod
    def view_affinities(cls, outputs: Tensor, offsets: Sequence[Offset]) -> Tensor:
        """Turn what it gives for several views of one image, all mirrored back, into affinities (n_offsets, h, w): their geometric mean."""
        return cls.pair_affinities(outputs, offsets).log().mean(dim=0).exp()


class BoundaryNet(nn.Module):
    """Class boundaries on the stride-4 grid; two cells have affinity one minus the strongest boundary between them.

    Args:
        backbone: All its five levels are read; it is meant to be frozen.
        width: Channels of each reduction.

    Attributes:
        stride: Pixels between cells of the grid.

    Source: Ahn et al. 2019 (IRN), the boundary branch; psa.md 3.3.
    """

    stride = 4

    def __init__(self, backbone: Backbone, width: int = 32) -> None:
        super().__init__()
        self.settings = {"width": width}
        self.backbone = backbone
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), _group_norm(width))
            for channels in (backbone.stem_channels, *backbone.channels)
        )
        self.edge = nn.Conv2d(width * len(self.reduce), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute boundary logits (B, 1, ceil(H / 4), ceil(W / 4)) of normalised images (B, 3, H, W)."""
        height, width = (math.ceil(side / 4) for side in x.shape[2:])
        maps = []
        for level, stride, reduce in zip(self.backbone.levels(x), (4, *self.backbone.strides), self.reduce, strict=True):
            reduced = reduce(level)
            if self.backbone.patch:  # cells cover the image evenly
                reduced = _resize(reduced, (height, width))
            elif stride > 4:  # enlarged by the whole ratio and cropped, so that cells stay where they are at odd sizes
                reduced = F.interpolate(reduced, scale_factor=stride // 4, mode="bilinear", align_corners=False)
            maps.append(reduced.relu()[:, :, :height, :width])
        return self.edge(torch.cat(maps, dim=1))

    @staticmethod
    def pair_affinities(outputs: Tensor, offsets: Sequence[Offset]) -> Tensor:
        """Turn what the network gives for B images into affinities (B, n_offsets, h, w)."""
        return path_affinities(outputs[:, 0].float().sigmoid(), offsets)

    @classmethod
    def view_affinities(cls, outputs: Tensor, offsets: Sequence[Offset]) -> Tensor:
        """Turn what it gives for several views of one image, all mirrored back, into affinities (n_offsets, h, w) of the mean logits."""
        return path_affinities(cls.view_boundary(outputs)[None], offsets)[0]

    @staticmethod
    def view_boundary(outputs: Tensor) -> Tensor:
        """Turn what it gives for several views of one image, all mirrored back, into the probability (h, w) of a boundary."""
        return outputs[:, 0].float().mean(dim=0).sigmoid()


def _resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize bilinearly unless the size is right already."""
    return maps if maps.shape[2:] == size else F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of about 8 channels a group."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)
