"""The displacement branch of IRN: for each cell the way to the centre of the object that it lies on. For instances; no stage runs it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone

LOW, HIGH = (64, 128), (256, 256, 256)  # channels of the reductions of the two finest levels and of the three others
MIXED = 256


class DisplacementNet(nn.Module):
    """Displacements on the stride-4 grid.

    Args:
        backbone: All its five levels are read; at output stride 16, as published.

    Attributes:
        stride: Pixels between cells of the grid.
        mean: (2,) what displacements have in common, (dy, dx): the mean over images, found after the training and taken off in evaluation.

    Source: Ahn et al. 2019 (IRN), the displacement branch; psa.md 3.3.
    """

    stride = 4
    mean: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(min(16, width // 8), width))
            for channels, width in zip((backbone.stem_channels, *backbone.channels), LOW + HIGH, strict=True)
        )
        self.mix_high = nn.Sequential(nn.Conv2d(sum(HIGH), MIXED, 1, bias=False), nn.GroupNorm(16, MIXED))
        self.mix_all = nn.Sequential(
            *(nn.Conv2d(sum(LOW) + MIXED, MIXED, 1, bias=False), nn.GroupNorm(16, MIXED), nn.ReLU()),
            nn.Conv2d(MIXED, 2, 1, bias=False),
        )
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        """Compute displacements (B, 2, ceil(H / 4), ceil(W / 4)), (dy, dx) in cells, of normalised images (B, 3, H, W)."""
        levels = [reduce(level) for level, reduce in zip(self.backbone.levels(x), self.reduce, strict=True)]
        high = levels[len(LOW) :]
        middle = high[0].shape[2:]
        mixed = self.mix_high(torch.cat([_at_size(level, middle).relu() for level in high], dim=1))
        fine = (math.ceil(x.shape[2] / self.stride), math.ceil(x.shape[3] / self.stride))
        displacement = self.mix_all(torch.cat([*(level.relu() for level in levels[: len(LOW)]), _at_size(mixed, fine).relu()], dim=1))
        return displacement if self.training else displacement - self.mean[None, :, None, None]


def _at_size(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Enlarge twofold and crop, so that cells stay where they are at odd sizes; maps of that size already stay as they are."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)[:, :, : size[0], : size[1]]
