"""Backbones: convolutional networks that return feature maps of several strides."""

from __future__ import annotations

from collections.abc import Callable

from labelseg.errors import UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.mobilenet_v2 import MobileNetV2
from labelseg.models.encoders.resnet import ResNet
from labelseg.models.encoders.tiny import TinyNet


def _deep_stem(name: str, output_stride: int) -> Backbone:
    """Build a ResNet with a deep stem; its module builds on this one."""
    from labelseg.models.encoders.deep_stem import DeepStemResNet

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
