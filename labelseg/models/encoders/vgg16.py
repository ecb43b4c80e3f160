"""The VGG-16 that AffinityNet was published with: its first fully connected layers are convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone

GROUPS = (2, 2, 3, 3, 3)  # convolutions before each pooling
WIDTHS = (3, 64, 128, 256, 512, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # that normalised images had, of red, green, blue up to 1
CAFFE_MEAN = (104.008, 116.669, 122.675)  # blue, green, red, of values up to 255


class ToInput(nn.Module):
    """Turns normalised images (B, 3, H, W) into what the first convolution expects: ``matrix`` (3, 3) by the channels, plus ``shift``."""

    matrix: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(3))
        self.register_buffer("shift", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (B, 3, H, W) into (B, 3, H, W)."""
        return F.conv2d(x, self.matrix[:, :, None, None], self.shift)


class VGG16(Backbone):
    """VGG-16 of 20.5 M parameters: 13 convolutions with bias, then ``fc6`` and ``fc7`` of 1,024 channels, without normalisation.

    At output stride 8 it is the published network: the fourth pooling keeps the size, ``conv5`` is dilated by 2, and there is no fifth
    pooling. ``fc6`` is dilated by 4, as in the published AffinityNet; without ``dilate`` by 1, as in the published classifier. Blocks are
    the five groups of convolutions, each with the pooling before the next, and fc6 with fc7; published are the first two frozen.

    Files from Caffe, whose convolutions are called ``conv1_1`` and so on, expect blue, green, red up to 255 less a mean: ``to_input`` turns
    normalised images into that. Files of torchvision, ``features.0`` and so on, take them as they are, and leave fc6 and fc7 random.

    Source: Simonyan & Zisserman 2015; Ahn & Kwak 2018; psa.md 1.1, 1.3.
    """

    name = "vgg16"
    stem_channels = 128
    channels = (256, 512, 512, 1024)
    heads = ("classifier.", "fc8.", "f8_", "f9.")
    presets = ("to_input.",)
    root_of_maps = True

    def __init__(self, output_stride: int, dilate: bool = True) -> None:
        super().__init__(output_stride, dilate)
        self.to_input = ToInput()
        capped = 16 // self.strides[2], 32 // self.strides[3]  # strides that are taken out before conv5, before fc6
        for group, ((inputs, outputs), count) in enumerate(zip(pairwise(WIDTHS), GROUPS, strict=True), start=1):
            dilation = capped[0] if group == len(GROUPS) else 1
            for place in range(1, count + 1):
                conv = nn.Conv2d(inputs if place == 1 else outputs, outputs, 3, padding=dilation, dilation=dilation)
                self.add_module(f"conv{group}_{place}", conv)
        reach = capped[1] if dilate else 1
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=reach, dilation=reach)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.dropout = nn.Dropout2d(0.5)
        for conv in self._convolutions():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """List the blocks of the five levels, in the order in which they are applied."""
        groups = [self._group(number) for number in range(1, len(GROUPS) + 1)]
        pools = [_pool(2), _pool(2), _pool(2), _pool(self.strides[2] // 8)]
        last = [] if self.output_stride < 32 else [_pool(2)]
        ends = nn.Sequential(*last, self.fc6, nn.ReLU(), self.dropout, self.fc7, nn.ReLU())
        first = nn.Sequential(self.to_input, *groups[0], pools[0])
        stem = [first, nn.Sequential(*groups[1], pools[1])]
        return stem, [nn.Sequential(*groups[2])], [nn.Sequential(pools[2], *groups[3])], [nn.Sequential(pools[3], *groups[4])], [ends]

    def from_file(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename tensors of torchvision, of whatever shape, and leave their classifier out; set what files from Caffe expect as input."""
        if any(name.startswith("to_input.") for name in state):
            return dict(state)
        if not any(name.startswith("features.") for name in state):
            return {**state, **_input_of_caffe()}
        own = {name: value for name, value in self.state_dict().items() if name.startswith(("to_input.", "fc6.", "fc7."))}
        places = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        names = [f"conv{group}_{place}" for group, count in enumerate(GROUPS, start=1) for place in range(1, count + 1)]
        renamed = dict(zip(places, names, strict=False))
        given = {name: value for name, value in state.items() if name.startswith("features.")}
        for name, value in given.items():
            _, place, kind = name.split(".")
            own[f"{renamed.get(int(place), name)}.{kind}"] = value
        return own

    def _group(self, number: int) -> list[nn.Module]:
        """The convolutions of a group, each with its ReLU."""
        named = [self.get_submodule(f"conv{number}_{place}") for place in range(1, GROUPS[number - 1] + 1)]
        return [module for conv in named for module in (conv, nn.ReLU())]

    def _convolutions(self) -> list[nn.Conv2d]:
        """All that are learned."""
        return [module for module in self.children() if isinstance(module, nn.Conv2d)]


def _pool(stride: int) -> nn.MaxPool2d:
    """Build a pooling: (B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
    return nn.MaxPool2d(3, stride, padding=1)


def _input_of_caffe() -> dict[str, Tensor]:
    """Blue, green, red up to 255 less their mean, from red, green, blue that were normalised."""
    scale = 255 * torch.tensor(STD)
    return {"to_input.matrix": torch.diag(scale).flip(0), "to_input.shift": 255 * torch.tensor(MEAN).flip(0) - torch.tensor(CAFFE_MEAN)}
