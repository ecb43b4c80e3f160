"""Features of single places, from the levels of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelseg.models.encoders.base import Backbone


class BackboneFeatures(nn.Module):
    """Gives the features of some levels of a backbone, as ``joint_features`` joins them.

    Args:
        backbone: What computes the levels.
        levels: Numbers of its taps, 1 for the finest to 4.

    Attributes:
        stride: Pixels between features: the stride of the finest of the levels.
    """

    def __init__(self, backbone: Backbone, levels: Sequence[int]) -> None:
        super().__init__()
        self.backbone, self.levels = backbone, tuple(levels)
        self.stride = min(backbone.strides[level - 1] for level in levels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features (B, D, ceil(H / stride), ceil(W / stride)) of normalised images (B, 3, H, W)."""
        taps = self.backbone(x)
        return joint_features([taps[level - 1].float() for level in self.levels])


def joint_features(levels: Sequence[Tensor]) -> Tensor:
    """Join levels to features of single places: each of unit length, on the grid of the finest, so that cosines are means over levels.

    Args:
        levels: Each (B, D_k, h_k, w_k).

    Returns:
        (B, sum of D_k, h, w); zeros where a level is silent.
    """
    size = max((level.shape[2:] for level in levels), key=lambda grid: grid[0] * grid[1])
    resized = [
        level if level.shape[2:] == size else F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in levels
    ]
    return torch.cat([F.normalize(level, dim=1) for level in resized], dim=1)
