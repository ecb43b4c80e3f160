"""The head of DeepLab-v2: four dilated convolutions on the last tap, summed."""

from __future__ import annotations

from torch import Tensor, nn

RATES = (6, 12, 18, 24)


class SummedPyramidHead(nn.Module):
    """Four 3x3 convolutions to the classes, whose logits (B, n_classes, h, w) are added.

    Args:
        channels: Of the last tap.
        n_classes: Channels of the result, background included.
        rates: Dilations of the convolutions, cells of the last tap.

    Source: Chen et al. 2018 (DeepLab-v2); spec labor 1.1: all four are added, where a slip in much used code adds the first two.
    """

    def __init__(self, channels: int, n_classes: int, rates: tuple[int, ...] = RATES) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(channels, n_classes, 3, padding=rate, dilation=rate) for rate in rates])
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Compute logits (B, n_classes, h, w) from the last of the taps (B, C, h, w)."""
        first, *others = (branch(taps[-1]) for branch in self.branches)
        for logits in others:
            first = first + logits
        return first
