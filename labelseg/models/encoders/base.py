"""Backbones: convolutional networks that return feature maps of several strides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Self, get_args

from torch import Tensor, nn

from labelseg.errors import UsageError
from labelseg.models.fast.depthwise import replace_dilated_depthwise
from labelseg.models.fast.fixed_norm import replace_sequences

OutputStride = Literal[8, 16, 32]


class Backbone(nn.Module):
    """Base of all backbones: five levels of features, of which the last four are the taps that heads read.

    Levels are the stem and the early tap, both of stride 4, then three levels of strides 8, 16 and 32; a smaller
    output stride caps them, by dilation or without. A map of stride s has ``ceil(H / s) x ceil(W / s)`` cells.

    Attributes:
        name: Name under which ``build_backbone`` knows it.
        output_stride: Stride of the last tap.
        dilate: Whether convolutions after a stride that was taken out are dilated.
        channels: Channels of the four taps.
        strides: Strides of the four taps.
        stem_channels: Channels of the stem.
        patch: Side of the patches that the cells of all levels stand for; 0 of convolutional networks.
        folds: Whether a BatchNorm that is listed behind a convolution is applied to what that gives.
        root_of_maps: Whether class activation maps are square roots of what the last tap gives, as published for VGG-16.
        heads: How names of tensors of a head begin in files of weights; they are left out.
        inner: How names of tensors begin that a file calls by what follows; empty where it calls them as the backbone does.
        presets: How names of tensors begin that files of weights lack and ``from_file`` sets.
        licence: Licence of the weights, as their file names it; empty where nobody does.
    """

    name: str
    stem_channels: int
    channels: tuple[int, int, int, int]
    patch = 0
    folds = True
    root_of_maps = False
    heads: tuple[str, ...] = ("classifier.", "fc.")
    inner = ""
    presets: tuple[str, ...] = ()
    licence = ""

    def __init__(self, output_stride: int, dilate: bool = True) -> None:
        super().__init__()
        if output_stride not in get_args(OutputStride):
            raise UsageError(f"output stride of a backbone: expected 8, 16 or 32, got {output_stride}.")
        self.output_stride, self.dilate = output_stride, dilate
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

    def from_file(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the tensors of a file of weights, of any shape, from their names there to those here; others keep their names."""
        return dict(state)

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
        """Take out the strides beyond the output stride; put dilation in their place unless told otherwise.

        A convolution that loses its stride keeps the dilation it had; all after it see a grid twice as fine and are
        dilated twice as much. So every ``stride``-th cell of the result is exactly what the strided network computes.
        Without dilation they see a smaller part of the image than they were trained on.
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
                if module.kernel_size == (3, 3) and self.dilate:
                    module.dilation = module.padding = (reach, reach)
        replace_dilated_depthwise(self)
        replace_sequences(self)


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Build a convolution without bias, batch normalisation and ReLU: (B, inputs, H, W) to (B, outputs, H / stride, W / stride).

    Args:
        inputs, outputs: Channels.
        kernel: Side of the kernel, odd; the border is padded so that stride 1 keeps the size.
        stride, dilation: Of the convolution.
    """
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
