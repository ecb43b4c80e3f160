"""The parameters of a training between two domains."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.pipeline.declare.stage import like, option, split_option
from labelseg.pipeline.declare.stage import source as instance_option
from labelseg.training.params import EvaluatedTrainingParams, has_inner_width, may_be_separable

TARGET = "target:train"


def _is_built(params: Params) -> bool:
    return not params.previous


def _takes_weights(params: Params) -> bool:
    return _is_built(params) and not params.init


def reads_source(params: Params) -> bool:
    """Whether images of the source are learned from, or compared with."""
    return params.source_weight > 0 or params.adversarial > 0


def reads_answers(params: Params) -> bool:
    """Whether answers, or other masks of the target, are learned."""
    return params.answer_weight > 0 and bool(params.answers)


def _reads_target(params: Params) -> bool:
    return params.adversarial > 0 or reads_answers(params)


@dataclass(frozen=True, kw_only=True)
class Params(EvaluatedTrainingParams):
    """Parameters of ``train-uda``."""

    split: str = split_option(TARGET, help="Split of the target domain, whose masks are not read.", effective=_reads_target)
    source: str = split_option("train", help="Split of the source domain, with true masks.", effective=reads_source)
    round: int = option(0, help="Number of the round; 0 is the warm-up, before anything is asked.", minimum=0)
    previous: str = instance_option(
        "", help="Instance whose network is trained on; empty takes train-uda@ROUND-1, or a new one in the warm-up.", kind="model"
    )
    answers: str = instance_option(
        "",
        help="Masks of the target to learn: answers, or any others; empty takes labor-annotate@ROUND, and none in the warm-up.",
        kind="labels",
        effective=lambda params: params.answer_weight > 0,
    )
    source_weight: float = option(1.0, help="Weight of the cross entropy on the source; 0 does without.", minimum=0.0)
    answer_weight: float = option(
        1.0,
        help="Weight of the cross entropy on answers; 0 does without.",
        minimum=0.0,
        effective=lambda params: bool(params.answers) or params.round > 0,
    )
    adversarial: float = option(0.001, help="Weight of the adversarial loss on predictions of the target; 0 does without.", minimum=0.0)
    discriminator_lr: float = option(
        1e-4, help="Learning rate of the discriminator at the start, by Adam.", minimum=0.0, effective=lambda params: params.adversarial > 0
    )
    backbone: str = like(EvaluatedTrainingParams, "backbone", effective=_is_built)
    weights: str = like(EvaluatedTrainingParams, "weights", effective=_takes_weights)
    init: str = like(EvaluatedTrainingParams, "init", effective=_is_built)
    output_stride: int = like(EvaluatedTrainingParams, "output_stride", effective=_is_built)
    dilate: bool = like(EvaluatedTrainingParams, "dilate", effective=_is_built)
    head: str = option(
        "deeplabv2",
        help="Head: DeepLab-v2's four summed convolutions, or another one.",
        choices=("deeplabv2", "deeplabv3plus", "deeplabv3", "atrous", "unimatch"),
        effective=_is_built,
    )
    width: int = option(
        256,
        help="Channels inside of heads that have some.",
        minimum=16,
        effective=lambda params: _is_built(params) and has_inner_width(params),
    )
    separable: bool = option(
        True,
        help="Depthwise-separable convolutions in DeepLabV3 and DeepLabV3+: several times cheaper.",
        effective=lambda params: _is_built(params) and may_be_separable(params),
    )
    resize: tuple[float, float] = option((1.0, 1.0), help="Range of the factor that images are resized by.", minimum=0.01)
    jitter: float = like(EvaluatedTrainingParams, "jitter", default=0.0)
    crop: int = like(EvaluatedTrainingParams, "crop", default=512)
    batch_size: int = option(2, help="Images of each domain an update.", minimum=1)
    epochs: int = option(6, help="Passes over the longer of both splits.", minimum=1, effective=lambda params: not params.iterations)
    min_updates: int = like(EvaluatedTrainingParams, "min_updates", effective=lambda params: not params.iterations)
    iterations: int = option(15_000, help="Updates of a round, in place of epochs; 0 counts epochs.", minimum=0)
    lr: float = option(2.5e-4, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    warmup: int = option(0, help="Updates over which the learning rate grows.", minimum=0)

    def __post_init__(self) -> None:
        """Fill in what follows from the number of the round, so that a value and what stands for it have one key."""
        if self.round > 0 and not self.previous:
            object.__setattr__(self, "previous", f"train-uda@{self.round - 1}")
        if self.round > 0 and not self.answers and self.answer_weight > 0:
            object.__setattr__(self, "answers", f"labor-annotate@{self.round}")
