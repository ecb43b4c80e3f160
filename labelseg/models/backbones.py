"""Backbones: convolutional networks that return feature maps of several strides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from labelseg.errors import UsageError
from labelseg.models.depthwise import replace_dilated_depthwise

OutputStride = Literal[8, 16, 32]


class Backbone(nn.Module):
    """Base of all backbones: five levels of features, of which the last four are the taps that heads read.

    Levels are the stem and the early tap, both of stride 4, then three levels of strides 8, 16 and 32; a smaller
    output stride caps them, by dilation. A map of stride s has ``ceil(H / s) x ceil(W / s)`` cells.

    Attributes:
        name: Name under which ``build_backbone`` knows it.
        output_stride: Stride of the last tap.
        channels: Channels of the four taps.
        strides: Strides of the four taps.
        stem_channels: Channels of the stem.
    """

    name: str
    stem_channels: int
    channels: tuple[int, int, int, int]

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        if output_stride not in get_args(OutputStride):
            raise UsageError(f"output stride of a backbone: expected 8, 16 or 32, got {output_stride}.")
        self.output_stride = output_stride
        self.strides = (4, 8, min(16, output_stride), min(32, output_stride))
        self._fixed: list[nn.Module] = []

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """The blocks of each of the five levels, in the order in which they are applied."""
        raise NotImplementedError

    def blocks(self) -> list[nn.Module]:
        """All blocks in the order in which they are applied: the units that ``freeze_blocks`` counts."""
        return [block for stage in self.stages() for block in stage]

    def levels(self, x: Tensor) -> list[Tensor]:
        """Compute the stem's output and the four taps of normalised images (B, 3, H, W)."""
        outputs = []
        for stage in self.stages():
            for block in stage:
                x = block(x)
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the four taps, finest first, of normalised images (B, 3, H, W)."""
        return self.levels(x)[1:]

    def freeze_batchnorm(self) -> Self:
        """Fix the statistics and the affine parameters of every BatchNorm, also under a later ``train()``."""
        self._fix(m for m in self.modules() if isinstance(m, nn.BatchNorm2d))
        return self

    def freeze_blocks(self, count: int) -> Self:
        """Fix the first ``count`` blocks, their BatchNorm included, also under a later ``train()``."""
        blocks = self.blocks()
        if not 0 <= count <= len(blocks):
            raise UsageError(f"frozen blocks of {self.name}: expected 0 to {len(blocks)}, got {count}.")
        self._fix(blocks[:count])
        return self

    def _fix(self, modules: Iterator[nn.Module] | Sequence[nn.Module]) -> None:
        for module in modules:
            module.requires_grad_(False).eval()
            self._fixed.append(module)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all that is not frozen."""
        super().train(mode)
        for module in self._fixed:
            module.eval()
        return self

    def _cap_stride(self) -> None:
        """Replace the strides beyond the output stride by dilation.

        A convolution that loses its stride keeps the dilation it had; all after it see a grid twice as fine and are
        dilated twice as much. So every ``stride``-th cell of the result is exactly what the strided network computes.
        """
        dilation = 1
        for uncapped, capped, stage in zip((8, 16, 32), self.strides[1:], self.stages()[2:], strict=True):
            before, dilation = dilation, uncapped // capped
            if dilation == 1:
                continue
            for module in nn.ModuleList(stage).modules():
                if not isinstance(module, nn.Conv2d):
                    continue
                reach = before if module.stride == (2, 2) else dilation
                module.stride = (1, 1)
                if module.kernel_size == (3, 3):
                    module.dilation = module.padding = (reach, reach)
        replace_dilated_depthwise(self)


class ResNet(Backbone):
    """ResNet of torchvision under its parameter names; blocks are the stem, its pooling and each residual block."""

    def __init__(self, name: str, output_stride: int) -> None:
        from labelseg.models.torchvision_shim import torchvision

        super().__init__(output_stride)
        net = getattr(torchvision.models, name)(weights=None)
        self.name = name
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.stem_channels = 64
        width = net.fc.in_features // 8
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return ([stem], *(list(layer) for layer in (self.layer1, self.layer2, self.layer3, self.layer4)))


class MobileNetV2(Backbone):
    """MobileNetV2 of torchvision under its parameter names."""

    name = "mobilenet_v2"
    stem_channels = 24
    channels = (24, 32, 96, 1280)

    def __init__(self, output_stride: int) -> None:
        from labelseg.models.torchvision_shim import torchvision

        super().__init__(output_stride)
        self.features = torchvision.models.mobilenet_v2(weights=None).features
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        blocks = list(self.features)
        return [blocks[start:stop] for start, stop in ((0, 3), (3, 4), (4, 7), (7, 14), (14, 19))]


class TinyNet(Backbone):
    """A small residual network (0.5 M parameters) that trains from random weights in a minute on small scenes."""

    name = "tiny"
    stem_channels = 24
    channels = (24, 48, 96, 160)

    def __init__(self, output_stride: int) -> None:
        super().__init__(output_stride)
        early, low, middle, high = self.channels
        self.stem = nn.Sequential(_conv_bn_relu(3, 16, stride=2), _conv_bn_relu(16, self.stem_channels, stride=2))
        self.early = nn.Sequential(_Residual(early))
        self.low = nn.Sequential(_conv_bn_relu(early, low, stride=2), _Residual(low, convolutions=1))
        self.middle = nn.Sequential(_conv_bn_relu(low, middle, stride=2), _Residual(middle, convolutions=1))
        self.high = nn.Sequential(_conv_bn_relu(middle, high, stride=2), _Residual(high, convolutions=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        return [list(level) for level in (self.stem, self.early, self.low, self.middle, self.high)]


class _Residual(nn.Module):
    """``relu(x + f(x))`` with f of one or two convolutions."""

    def __init__(self, channels: int, convolutions: int = 2) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(_conv_bn_relu(channels, channels) for _ in range(convolutions - 1)),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.inner(x))


def _conv_bn_relu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _deep_stem(name: str, output_stride: int) -> Backbone:
    """Build a ResNet with a deep stem; its module builds on this one."""
    from labelseg.models.deep_stem import DeepStemResNet

    return DeepStemResNet(name, output_stride)


BACKBONES: dict[str, Callable[[int], Backbone]] = {
    "tiny": TinyNet,
    "mobilenet_v2": MobileNetV2,
    "resnet18": lambda stride: ResNet("resnet18", stride),
    "resnet50": lambda stride: ResNet("resnet50", stride),
    "resnet101": lambda stride: ResNet("resnet101", stride),
    "resnet50_deep": lambda stride: _deep_stem("resnet50_deep", stride),
    "resnet101_deep": lambda stride: _deep_stem("resnet101_deep", stride),
}


def build_backbone(name: str, output_stride: int) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: One of ``BACKBONES``.
        output_stride: 8, 16 or 32: the stride of the last tap.

    Raises:
        UsageError: no such backbone or stride.
    """
    if name not in BACKBONES:
        raise UsageError(f"backbone: expected one of {', '.join(BACKBONES)}, got {name!r}.")
    return BACKBONES[name](output_stride)
