"""ResNets with a deep stem, as published checkpoints of semi-supervised segmentation have them."""

from __future__ import annotations

from torch import nn

from labelseg.models.encoders.resnet import ResNet

_SUFFIX = "_deep"


class DeepStemResNet(ResNet):
    """ResNet whose first 7 x 7 convolution is three 3 x 3 ones of 64, 64 and 128 channels, the first of stride 2.

    Args:
        name: ``resnet50_deep`` or ``resnet101_deep``.
        output_stride: As of every backbone.

    Source: Yang et al. 2023; unimatch.md 1.2. Parameter names are those of the published code.
    """

    def __init__(self, name: str, output_stride: int, dilate: bool = True) -> None:
        super().__init__(name.removesuffix(_SUFFIX), output_stride, dilate)
        self.name = name
        self.stem_channels = 128
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(128)
        first = self.layer1[0]
        first.conv1 = nn.Conv2d(128, 64, 1, bias=False)
        first.downsample[0] = nn.Conv2d(128, 256, 1, bias=False)
        for module in (*self.conv1, first.conv1, first.downsample[0]):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
