"""The parameters that trainings from few masks share."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.pipeline.declare.stage import option, source, split_option
from labelseg.training.params import EvaluatedTrainingParams


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
    take: str = option("network", help="What is taken of it: the whole network, or its backbone.", choices=("network", "backbone"))
    head: str = option(
        "deeplabv3plus",
        help="Head: DeepLabV3+, two atrous convolutions, or DeepLabV3+ as in published checkpoints of UniMatch.",
        choices=("deeplabv3plus", "atrous", "unimatch"),
    )
    width: int = option(256, help="Channels inside of the head.", minimum=16)
    separable: bool = option(True, help="Depthwise-separable convolutions in DeepLabV3+: several times cheaper.")
    batch_size: int = option(8, help="Labelled images an update, and as many unlabelled ones.", minimum=1)
    epochs: int = option(40, help="Passes over the longer of the two splits.", minimum=1)
    iterations: int = option(0, help="Updates, in place of epochs; 0 counts epochs.", minimum=0)
    patience: int = option(0, help="Evaluations without a new best after which the training ends; 0 never.", minimum=0)
    window: int = option(0, help="Side of the windows that an evaluation sums over; 0 takes whole images.", minimum=0)
    allow_missing: bool = option(False, help="Train although some class has no labelled pixel.")
