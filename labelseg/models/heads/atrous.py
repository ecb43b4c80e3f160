"""The head of published weakly supervised segmenters: two atrous convolutions, summed."""

from __future__ import annotations

from torch import Tensor, nn


class AtrousHead(nn.Module):
    """Two 3x3 convolutions of rate 12 on the last tap; logits (B, n_classes, h, w) at its size.

    Args:
        channels: Of the last tap.
        n_classes: Channels of the result, background included.

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
        """Compute logits (B, n_classes, h, w) from the last of the taps (B, C, h, w)."""
        return self.classify(self.hidden(taps[-1]).relu())
