"""ResNets of torchvision."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from labelseg.models.encoders.base import Backbone


class ResNet(Backbone):
    """ResNet of torchvision under its parameter names; blocks are the stem, its pooling and each residual block."""

    def __init__(self, name: str, output_stride: int, dilate: bool = True) -> None:
        from labelseg.models.torchvision_shim import torchvision

        super().__init__(output_stride, dilate)
        net = getattr(torchvision.models, name)(weights=None)
        self.name = name
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.stem_channels = 64
        width = net.fc.in_features // 8
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """List the blocks of the five levels, in the order in which they are applied."""
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return ([stem], *(list(layer) for layer in (self.layer1, self.layer2, self.layer3, self.layer4)))
