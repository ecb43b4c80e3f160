"""Backbones: convolutional networks that return feature maps of several strides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from labelseg.errors import UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.mobilenet_v2 import MobileNetV2
from labelseg.models.encoders.resnet import ResNet
from labelseg.models.encoders.resnet38 import ResNet38
from labelseg.models.encoders.timm_library.creation import is_of_timm, is_plain_transformer
from labelseg.models.encoders.tiny import TinyNet
from labelseg.models.encoders.vgg16 import VGG16


def _deep_stem(name: str, output_stride: int, dilate: bool) -> Backbone:
    """Build a ResNet with a deep stem; its module builds on this one."""
    from labelseg.models.encoders.deep_stem import DeepStemResNet

    return DeepStemResNet(name, output_stride, dilate)


def _timm(name: str, output_stride: int, dilate: bool) -> Backbone:
    """Build a network of timm; its modules build on this one's."""
    from labelseg.models.encoders.timm_library.plain_vit import PlainViT
    from labelseg.models.encoders.timm_library.pyramid import TimmPyramid

    return (PlainViT if is_plain_transformer(name) else TimmPyramid)(name, output_stride, dilate)


BACKBONES: dict[str, Callable[[int, bool], Backbone]] = {
    "tiny": TinyNet,
    "mobilenet_v2": MobileNetV2,
    "resnet18": partial(ResNet, "resnet18"),
    "resnet50": partial(ResNet, "resnet50"),
    "resnet101": partial(ResNet, "resnet101"),
    "resnet50_deep": partial(_deep_stem, "resnet50_deep"),
    "resnet101_deep": partial(_deep_stem, "resnet101_deep"),
    "resnet38": ResNet38,
    "vgg16": VGG16,
}


def build_backbone(name: str, output_stride: int, dilate: bool = True) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: One of ``BACKBONES``, or ``timm:`` and a name of timm.
        output_stride: 8, 16 or 32: the stride of the last tap.
        dilate: Dilate the convolutions after a stride that was taken out for it; the published IRN network does not.

    Raises:
        UsageError: no such backbone or stride, or timm is not installed.
    """
    if is_of_timm(name):
        return _timm(name, output_stride, dilate)
    if name not in BACKBONES:
        raise UsageError(f"backbone: expected one of {', '.join(BACKBONES)} or timm:NAME, got {name!r}.")
    return BACKBONES[name](output_stride, dilate)


def build_like(backbone: Backbone) -> Backbone:
    """Build a backbone of the same name, strides and licence with random weights."""
    built = build_backbone(backbone.name, backbone.output_stride, backbone.dilate)
    built.licence = backbone.licence
    return built
