"""The parameters that trainings from few masks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labelseg.pipeline.declare.stage import like, option, source, split_option
from labelseg.training.params import EvaluatedTrainingParams, has_inner_width, is_evaluated, may_be_separable


def _takes_something(params: Any) -> bool:
    return bool(params.init) or params.weights not in ("none", "imagenet")


@dataclass(frozen=True, kw_only=True)
class FewMaskParams(EvaluatedTrainingParams):
    """Labelled and unlabelled images, network and schedule."""

    split: str = split_option("train", help="Split of the labelled images; with true masks, its images that have one.")
    labels: str = source("masks", help="Instance that provides the masks to learn, or masks for the ground truth.", kind="labels")
    unlabelled: str = split_option("train", help="Split of the unlabelled images; their masks, if any, are only watched.")
    validation: str = split_option("", help="Split with true masks to evaluate on after epochs; empty evaluates on none.")
    hold: float = option(
        0.0, help="Share of the labelled images that is held back to evaluate on, without a validation split.", minimum=0.0, maximum=0.9
    )
    init: str = source("", help="Instance whose network is taken over instead of weights; empty takes weights.", kind="model")
    take: str = option(
        "network",
        help="What is taken of it, or of a file of weights: the whole network, or its backbone.",
        choices=("network", "backbone"),
        effective=_takes_something,
    )
    head: str = option(
        "deeplabv3plus",
        help="Head: DeepLabV3+, two atrous convolutions, DPT on a plain ViT as in UniMatch V2, or that of published UniMatch checkpoints.",
        choices=("deeplabv3plus", "atrous", "dpt", "unimatch"),
    )
    width: int = option(
        256, help="Channels inside of the head; two atrous convolutions have none to choose.", minimum=16, effective=has_inner_width
    )
    separable: bool = option(
        True, help="Depthwise-separable convolutions in DeepLabV3+: several times cheaper.", effective=may_be_separable
    )
    batch_size: int = option(8, help="Labelled images an update, and as many unlabelled ones.", minimum=1)
    epochs: int = option(40, help="Passes over the longer of the two splits.", minimum=1, effective=lambda params: not params.iterations)
    min_updates: int = like(EvaluatedTrainingParams, "min_updates", effective=lambda params: not params.iterations)
    iterations: int = option(0, help="Updates, in place of epochs; 0 counts epochs.", minimum=0)
    patience: int = option(0, help="Evaluations without a new best after which the training ends; 0 never.", minimum=0)
    window: int = option(
        0, help="Side of the windows that an evaluation sums over; 0 takes whole images.", minimum=0, effective=is_evaluated
    )
    allow_missing: bool = option(False, help="Train although some class has no labelled pixel.")
