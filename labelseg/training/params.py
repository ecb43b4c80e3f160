"""The parameters that training stages share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from labelseg.pipeline.declare.stage import file_option, option, source, split_option

BACKBONES = ("mobilenet_v2", "resnet18", "resnet50", "resnet101", "resnet50_deep", "resnet101_deep", "resnet38", "vgg16", "tiny")


def takes_weights(params: Any) -> bool:
    """Whether the backbone begins from weights, and not from another model."""
    return not params.init


def is_evaluated(params: Any) -> bool:
    """Whether there are images to score the network on between epochs."""
    return bool(params.validation or getattr(params, "hold", 0))


def has_inner_width(params: Any) -> bool:
    """Whether the head of a segmenter has channels inside that may be chosen."""
    return params.head not in ("atrous", "deeplabv2")


def may_be_separable(params: Any) -> bool:
    """Whether the head of a segmenter may have depthwise-separable convolutions."""
    return params.head not in ("atrous", "deeplabv2", "unimatch", "dpt")


def begins_from_model(params: Any) -> bool:
    """Whether the network begins from one that was trained before."""
    return bool(params.init)


@dataclass(frozen=True, kw_only=True)
class TakingParams:
    """What a training takes of the model that it begins from."""

    take: str = option(
        "backbone",
        help="What is taken of init: its backbone, or the whole network of an earlier training of this stage, which goes on.",
        choices=("network", "backbone"),
        effective=begins_from_model,
        neutral=True,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """Network, data and schedule of a training."""

    split: str = split_option("train", help="Split to train on.")
    backbone: str = option(
        "mobilenet_v2", help="Backbone of the network; timm:NAME is one of the library timm.", choices=BACKBONES, beyond="timm:NAME"
    )
    weights: str = file_option(
        "imagenet",
        help="Initial weights of the backbone: a .safetensors or .pth file, imagenet (torchvision), or none.",
        words=("imagenet", "none"),
        effective=takes_weights,
    )
    init: str = source("", help="Instance whose backbone is taken over instead of weights; empty takes weights.", kind="model")
    output_stride: int = option(
        16, help="Stride of the backbone's last level: 8, 16 or 32; of a plain ViT its patch.", minimum=8, maximum=32
    )
    dilate: bool = option(
        True,
        help="Dilate the convolutions after a stride that the output stride takes out; the published IRN network does not.",
        neutral=True,
    )
    freeze_blocks: int = option(0, help="First blocks of the backbone that stay as they are.", minimum=0)
    freeze_batchnorm: bool = option(True, help="Keep statistics and affine parameters of every BatchNorm.")
    epochs: int = option(6, help="Passes over the split.", minimum=1)
    batch_size: int = option(16, help="Images an update.", minimum=1)
    optimizer: str = option("sgd", help="Optimiser.", choices=("sgd", "adam", "adamw"))
    lr: float = option(0.002, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    head_lr_scale: float = option(10.0, help="Learning rate of new layers, relative to the backbone's.", minimum=0.0)
    momentum: float = option(
        0.9, help="Momentum, of Adam the first beta; the published PSA code trains with 0.0005.", minimum=0.0, maximum=1.0
    )
    weight_decay: float = option(5e-4, help="Weight decay of weights; biases and normalisation have none.", minimum=0.0)
    warmup: int = option(20, help="Updates over which the learning rate grows.", minimum=0)
    warmup_share: float = option(
        0.0,
        help="Share of the updates over which the learning rate grows, where that is less than --warmup; 0 leaves --warmup as it is.",
        minimum=0.0,
        maximum=1.0,
        neutral=True,
    )
    min_updates: int = option(
        0,
        help="Fewest updates: a small split is passed more often than is usual, unless --epochs is given. 0 asks for none.",
        minimum=0,
        neutral=True,
    )
    clip_norm: float = option(
        0.0, help="Highest norm of the gradient, to which a larger one is clipped; 0 clips none.", minimum=0.0, neutral=True
    )
    crop: int = option(320, help="Side of the square crops, pixels.", minimum=8)
    jitter: float = option(0.3, help="Strength of colour jitter; a third of it for hue.", minimum=0.0, maximum=1.0)
    seed: int = option(0, help="Seed of initial weights, order and augmentation.", minimum=0)
    precision: str = option("32-true", help="Precision of the forward passes.", choices=("32-true", "bf16-mixed"))

    @property
    def usual_epochs(self) -> int:
        """The epochs of a training for which none are given."""
        return default_epochs(self)


@dataclass(frozen=True, kw_only=True)
class EvaluatedTrainingParams(TrainingParams):
    """The same, of a training whose network is scored on held images."""

    validation: str = split_option("", help="Split to evaluate on after epochs; empty evaluates on none.")
    evaluate_every: int = option(1, help="Epochs between evaluations on the validation split.", minimum=1, effective=is_evaluated)
    keep: str = option(
        "last", help="Weights to keep: after the last epoch, or of the best on the validation split.", choices=("last", "best")
    )


def default_epochs(params: Any) -> int:
    """Return the epochs that a training declares."""
    return next(int(f.default) for f in fields(params) if f.name == "epochs")  # type: ignore[arg-type]


class Length(NamedTuple):
    """How long a training is: passes, updates, how many times as many passes as asked for, and updates a pass."""

    epochs: int
    updates: int
    stretch: int
    steps: int


def schedule(params: Any, samples: int, iterations: int = 0) -> Length:
    """Find the length of a training: the epochs asked for; where those are the usual ones, as many as the fewest updates take.

    Args:
        params: Epochs, batch size and fewest updates.
        samples: Length of the set.
        iterations: Updates in place of epochs; 0 takes those.
    """
    steps = max(samples // max(min(params.batch_size, samples), 1), 1)
    fewest = -(-params.min_updates // steps)
    epochs = max(params.epochs, fewest) if params.epochs == params.usual_epochs else params.epochs
    return Length(epochs, iterations or epochs * steps, 1 if iterations else max(epochs // params.epochs, 1), steps)
