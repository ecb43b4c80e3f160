"""Networks that trainings between domains need beside the segmenter: one that tells domains apart, and a second head that disagrees."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from labelseg.models.segmenter import Segmenter
from labelseg.ops.active.selector import to_grid_size

WIDTHS = (64, 128, 256, 512)
SMALLEST = 32  # pixels: what five halvings need
_SLOPE = 0.2


class Discriminator(nn.Module):
    """Tells from class probabilities whether an image is of the source (0) or of the target (1): logits (B, 1, h, w) of patches.

    Args:
        n_classes: Channels of the predictions.

    Source: Tsai et al. 2018 (AdaptSegNet), published code; spec labor 1.3.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((n_classes, *WIDTHS), (*WIDTHS, 1), strict=True):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, probabilities: Tensor) -> Tensor:
        """Compute logits (B, 1, H / 32, W / 32) of predictions (B, K, H, W)."""
        return self.layers(probabilities)


class AdaptationOutputs(NamedTuple):
    """What the networks say of a batch; None for what was not asked.

    Attributes:
        source, target: (B, K, H, W) logits of the segmenter.
        judged: (B, 1, h, w) logits of the discriminator on the target, with gradients for the segmenter alone.
        of_source, of_target: (B, 1, h, w) logits of the discriminator, with gradients for itself alone.
    """

    source: Tensor | None
    target: Tensor | None
    judged: Tensor | None
    of_source: Tensor | None
    of_target: Tensor | None


class AdaptationNet(nn.Module):
    """A segmenter, and the discriminator that it is to deceive.

    Args:
        segmenter: What is trained and kept.
        discriminator: None where no adversarial loss is used.
    """

    def __init__(self, segmenter: Segmenter, discriminator: Discriminator | None = None) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.discriminator = discriminator

    def forward(self, source: Tensor | None, target: Tensor | None) -> AdaptationOutputs:
        """Segment normalised images (B, 3, H, W) of both domains, and judge them.

        Source: Tsai et al. 2018, published code: the predictions that the discriminator learns from carry no gradient.
        """
        ours = None if source is None else self.segmenter(source)
        theirs = None if target is None else self.segmenter(target)
        if self.discriminator is None or ours is None or theirs is None:
            return AdaptationOutputs(ours, theirs, None, None, None)
        predicted = theirs.softmax(dim=1)
        fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        judged = torch.func.functional_call(self.discriminator, fixed, (predicted,))
        return AdaptationOutputs(
            ours, theirs, judged, self.discriminator(ours.detach().softmax(dim=1)), self.discriminator(predicted.detach())
        )


class TwinSegmenter(nn.Module):
    """A segmenter with a second head on the same backbone, there to disagree.

    Args:
        segmenter: The first classifier.
        second: Another head of its kind.

    Source: Shin et al. 2021 (LabOR), the pixel selector; spec labor 1.1 and 1.5.
    """

    def __init__(self, segmenter: Segmenter, second: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.second = second

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits (B, K, H, W) of both heads; in training mode again with gradients that stop at the heads."""
        taps = self.segmenter.backbone(x)
        seen = [taps, [tap.detach() for tap in taps]] if self.training else [taps]
        size = (x.shape[2], x.shape[3])
        heads = (self.segmenter.head, self.second)
        return tuple(to_grid_size(head(some).float(), size, self.segmenter.align_corners) for some in seen for head in heads)
