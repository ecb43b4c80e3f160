"""MobileNetV2 of torchvision."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from labelseg.models.encoders.base import Backbone


class MobileNetV2(Backbone):
    """MobileNetV2 of torchvision under its parameter names."""

    name = "mobilenet_v2"
    stem_channels = 24
    channels = (24, 32, 96, 1280)

    def __init__(self, output_stride: int, dilate: bool = True) -> None:
        from labelseg.models.torchvision_shim import torchvision

        super().__init__(output_stride, dilate)
        self.features = torchvision.models.mobilenet_v2(weights=None).features
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """List the blocks of the five levels, in the order in which they are applied."""
        blocks = list(self.features)
        return [blocks[start:stop] for start, stop in ((0, 3), (3, 4), (4, 7), (7, 14), (14, 19))]
