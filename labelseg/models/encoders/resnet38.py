"""The wide ResNet of 38 layers that AffinityNet was published with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone


class ResNet38(Backbone):
    """Wide ResNet-38 (model A1, 105 M parameters), whose units normalise before they convolve.

    The taps are what the next unit normalises first: of 512, 1,024 and 4,096 channels. At output stride 8 with dilation it is the published
    network; blocks are the first convolution, each unit, and the last BatchNorm. Published are the first four frozen, and every BatchNorm.

    Source: Wu, Shen & van den Hengel 2016; Ahn & Kwak 2018; psa.md 1.2. Parameter names are those of published checkpoints.
    """

    name = "resnet38"
    stem_channels = 256
    channels = (256, 512, 1024, 4096)
    heads = ("fc8.", "f8_", "f9.")

    def __init__(self, output_stride: int, dilate: bool = True) -> None:
        super().__init__(output_stride, dilate)
        self.conv1a = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.b2, self.b2_1, self.b2_2 = _Unit(64, 128, 128, stride=2), _Unit(128, 128, 128), _Unit(128, 128, 128)
        self.b3, self.b3_1, self.b3_2 = _Unit(128, 256, 256, stride=2), _Unit(256, 256, 256), _Unit(256, 256, 256)
        self.b4 = _Unit(256, 512, 512, stride=2)
        self.b4_1, self.b4_2, self.b4_3, self.b4_4, self.b4_5 = (_Unit(512, 512, 512) for _ in range(5))
        self.b5, self.b5_1, self.b5_2 = _Unit(512, 512, 1024, stride=2), _Unit(1024, 512, 1024), _Unit(1024, 512, 1024)
        self.b6 = _Bottleneck(1024, 512, 1024, 2048, stride=2, dropout=0.3)
        self.b7 = _Bottleneck(2048, 1024, 2048, 4096, dropout=0.5)
        self.bn7 = nn.BatchNorm2d(4096)
        self._cap_stride()

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """List the blocks of the five levels, in the order in which they are applied."""
        return (
            [self.conv1a, self.b2, self.b2_1, self.b2_2, self.b3],
            [self.b3_1, self.b3_2],
            [self.b4, self.b4_1, self.b4_2, self.b4_3, self.b4_4, self.b4_5],
            [self.b5, self.b5_1, self.b5_2],
            [self.b6, self.b7, self.bn7],
        )

    def levels(self, x: Tensor) -> list[Tensor]:
        """Compute the stem's output and the four taps of normalised images (B, 3, H, W)."""
        outputs = []
        for stage, following in zip(self.stages(), (None, None, self.b5, self.b6, None), strict=True):
            for block in stage:
                x = block(x)
            outputs.append(x if following is None else following.activated(x))
        return [*outputs[:-1], outputs[-1].relu()]


class _Residual(nn.Module):
    """``s(x) + f(a)`` with ``a = relu(bn(x))``; the shortcut s is x, or a convolution of a where the shape changes."""

    bn_branch2a: nn.BatchNorm2d
    conv_branch1: nn.Conv2d | None

    def activated(self, x: Tensor) -> Tensor:
        """Normalise and rectify what comes in: (B, C, H, W) to the same shape."""
        return self.bn_branch2a(x).relu_()

    def inner(self, a: Tensor) -> Tensor:
        """Compute f."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        a = self.activated(x)
        return self.inner(a) + (x if self.conv_branch1 is None else self.conv_branch1(a))


class _Unit(_Residual):
    """``f(a) = conv(relu(bn(conv(a))))``, convolutions of 3."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = nn.Conv2d(inputs, middle, 3, stride, padding=1, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(middle)
        self.conv_branch2b1 = nn.Conv2d(middle, outputs, 3, padding=1, bias=False)
        self.conv_branch1 = _shortcut(inputs, outputs, stride)

    def inner(self, a: Tensor) -> Tensor:
        return self.conv_branch2b1(self.bn_branch2b1(self.conv_branch2a(a)).relu_())


class _Bottleneck(_Residual):
    """Convolutions of 1, 3 and 1, with channels dropped before the last two."""

    def __init__(self, inputs: int, first: int, second: int, outputs: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = nn.Conv2d(inputs, first, 1, stride, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(first)
        self.conv_branch2b1 = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.bn_branch2b2 = nn.BatchNorm2d(second)
        self.conv_branch2b2 = nn.Conv2d(second, outputs, 1, bias=False)
        self.conv_branch1 = _shortcut(inputs, outputs, stride)
        self.dropout = nn.Dropout2d(dropout)

    def inner(self, a: Tensor) -> Tensor:
        middle = self.conv_branch2b1(self.dropout(self.bn_branch2b1(self.conv_branch2a(a)).relu_()))
        return self.conv_branch2b2(self.dropout(self.bn_branch2b2(middle).relu_()))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Conv2d | None:
    """Build the convolution of the shortcut; None where the shape stays."""
    return None if inputs == outputs and stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
