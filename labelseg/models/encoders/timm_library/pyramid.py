"""Networks of timm whose maps get coarser from level to level: convolutional ones, and transformers that merge patches."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from labelseg.errors import UsageError
from labelseg.models.encoders.base import OutputStride
from labelseg.models.encoders.timm_library.creation import create_network
from labelseg.models.encoders.timm_library.timm_backbone import TimmBackbone


class TimmPyramid(TimmBackbone):
    """A network of timm with levels of strides 4, 8, 16 and 32, the last of them capped by the output stride.

    Where the network has a level of stride 2, its stem is the maximum over 3 x 3 places of that, as in a ResNet; else it is the first tap.

    Args:
        name: ``timm:`` and a name of timm.
        output_stride: 8, 16 or 32: the stride of the last tap.
        dilate: Must be true.

    Raises:
        UsageError: the network has other levels, no such output stride, or takes images of one size alone.
    """

    def __init__(self, name: str, output_stride: int, dilate: bool = True) -> None:
        if output_stride not in get_args(OutputStride):
            raise UsageError(f"backbone {name}: output stride: expected 8, 16 or 32, got {output_stride}.")
        capped: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
        try:
            net: Any = create_network(name, **capped)
        except UsageError:
            if capped:
                TimmPyramid(name, 32, dilate)  # what will not do with its own stride either is told of that
            raise
        super().__init__(name, net, output_stride, dilate)
        self.output_stride = output_stride
        self.strides = (4, 8, min(16, output_stride), min(32, output_stride))
        levels = [(level["reduction"], level["num_chs"]) for level in getattr(net, "feature_info", ())]
        strides = tuple(stride for stride, _ in levels)
        if strides[-4:] != self.strides or not hasattr(net, "forward_intermediates"):
            raise UsageError(
                f"backbone {name}: expected a network with levels of strides {', '.join(map(str, self.strides))}, "
                f"found {', '.join(map(str, strides)) or 'none'}. Choose another network of timm."
            )
        self._has_stem = strides[-5:-4] == (2,)
        self._levels = list(range(len(levels) - 4 - self._has_stem, len(levels)))
        net.prune_intermediate_layers(self._levels, prune_head=True)
        self.channels = tuple(channels for _, channels in levels[-4:])  # type: ignore[assignment]
        self.stem_channels = levels[self._levels[0]][1]
        self._demand_any_size()

    @torch.no_grad()
    def _demand_any_size(self) -> None:
        """Demand that the network takes images of a size that it was not made for, and gives the levels it announces."""
        side = self.output_stride
        image = torch.zeros(1, 3, 3 * side, 5 * side, device=next(self.net.parameters()).device)
        self.net.eval()
        try:
            found = [tuple(level.shape[1:]) for level in self.levels(image)[1:]]
        except (AssertionError, RuntimeError) as error:
            raise UsageError(
                f"backbone {self.name}: expected a network for images of any size, found one for a single size ({error}). "
                "Choose another, such as timm:convnext_tiny."
            ) from error
        self.net.train()
        expected = [
            (channels, 3 * side // stride, 5 * side // stride) for channels, stride in zip(self.channels, self.strides, strict=True)
        ]
        if found != expected:
            raise UsageError(f"backbone {self.name}: expected levels of {expected}, got {found}. Choose another network of timm.")

    def levels(self, x: Tensor) -> list[Tensor]:
        """Compute the stem's output and the four taps of normalised images (B, 3, H, W)."""
        height, width = x.shape[2:]
        net: Any = self.net
        maps = net.forward_intermediates(self._filled(x), indices=self._levels, intermediates_only=True)
        stem = F.max_pool2d(maps[0], 3, stride=2, padding=1) if self._has_stem else maps[0]
        return [
            level[:, :, : -(-height // stride), : -(-width // stride)]
            for level, stride in zip((stem, *maps[-4:]), (4, *self.strides), strict=True)
        ]
