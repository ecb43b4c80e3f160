"""The DPT head: four maps of a plain vision transformer, brought to four sizes and fused from the coarsest to the finest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Value = TypeVar("Value")

# Channels that the four maps are projected to, by those of the transformer; others take an eighth, a quarter, half and all of them.
_PROJECTED = {1024: (256, 512, 1024, 1024), 1536: (1536, 1536, 1536, 1536)}
# Published checkpoints hold a unit that nothing passes through: nothing is added to the coarsest map.
IDLE = "head.scratch.refinenet4.resConfUnit1."


class DptHead(nn.Module):
    """Projects the taps, resizes them to 4, 2, 1 and 1/2 cells a patch, and fuses them; logits have 8 cells a patch.

    Args:
        channels: Of each tap.
        n_classes: Number of classes.
        width: Channels of the fusion; published: 64 for the small, 128 for the base, 256 for the large transformer.

    Source: Ranftl et al. 2021; Yang et al. 2025 (UniMatch V2), published code; unimatch.md 6. Names of parameters are those of that code.
    """

    def __init__(self, channels: int, n_classes: int, width: int) -> None:
        super().__init__()
        sizes = _PROJECTED.get(channels) or tuple(max(channels // part, 1) for part in (8, 4, 2, 1))
        self.projects = nn.ModuleList(nn.Conv2d(channels, size, 1) for size in sizes)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(sizes[0], sizes[0], 4, stride=4),
                nn.ConvTranspose2d(sizes[1], sizes[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(sizes[3], sizes[3], 3, stride=2, padding=1),
            ]
        )
        parts: dict[str, nn.Module] = {
            f"layer{level}_rn": nn.Conv2d(size, width, 3, padding=1, bias=False) for level, size in enumerate(sizes, 1)
        }
        parts |= {f"refinenet{level}": _Fusion(width, adds=level < 4) for level in range(1, 5)}
        output = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, n_classes, 1))
        self.scratch = nn.ModuleDict({**parts, "output_conv": output})

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Compute logits (B, n_classes, 8 h, 8 w) from four taps (B, C, h, w), the earliest first."""
        maps = [
            self.scratch[f"layer{level}_rn"](resize(project(tap)))
            for level, (tap, project, resize) in enumerate(zip(taps, self.projects, self.resize_layers, strict=True), 1)
        ]
        sizes = [(2 * maps[0].shape[2], 2 * maps[0].shape[3]), *((finer.shape[2], finer.shape[3]) for finer in maps[:-1])]
        fused = self.scratch["refinenet4"](maps[3], None, sizes[3])
        for level in (3, 2, 1):
            fused = self.scratch[f"refinenet{level}"](fused, maps[level - 1], sizes[level - 1])
        return self.scratch["output_conv"](fused)


def without_idle(state: Mapping[str, Value]) -> dict[str, Value]:
    """Leave out of a published checkpoint, name -> tensor of any shape, what nothing passes through."""
    return {name: value for name, value in state.items() if not name.startswith(IDLE)}


class _Fusion(nn.Module):
    """Adds a finer map to what was fused so far, and enlarges the sum to the size of the next."""

    def __init__(self, width: int, adds: bool) -> None:
        super().__init__()
        if adds:
            self.resConfUnit1 = _Residual(width)
        self.resConfUnit2 = _Residual(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, fused: Tensor, finer: Tensor | None, size: tuple[int, int]) -> Tensor:
        if finer is not None:
            fused = fused + self.resConfUnit1(finer)
        enlarged = F.interpolate(self.resConfUnit2(fused), size=size, mode="bilinear", align_corners=True)
        return self.out_conv(enlarged)


class _Residual(nn.Module):
    """``x + f(x)`` with f two convolutions, each behind a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(torch.relu(x))))
