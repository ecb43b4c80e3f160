"""The parameters of the pixel selector."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.methods.active.adaptation_params import TARGET
from labelseg.pipeline.declare.stage import like, option, source, split_option
from labelseg.training.params import TrainingParams, default_epochs


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``train-selector``."""

    split: str = split_option(TARGET, help="Split of the target domain.")
    round: int = option(1, help="Number of the round, from 1.", minimum=1)
    model: str = source("", help="Trained segmenter to begin with; empty takes train-uda@ROUND-1.", kind="model")
    alpha: tuple[float, ...] = option(
        (0.2, 0.25, 0.3), help="Share of a class that is labelled at a threshold of 1, by round; later ones take the last.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    beta: float = option(0.9, help="Share of the old threshold in the new one.", minimum=0.0, maximum=1.0)
    gamma: float = option(8.0, help="How strongly the share of a class falls with its threshold.", minimum=0.0)
    group: int = option(2, help="Images that move thresholds together; 1 moves them with every image, as the paper has it.", minimum=1)
    second: str = option("nudged", help="How the second head begins: a copy of the first with noise, or anew.", choices=("nudged", "fresh"))
    noise: float = option(1e-3, help="Standard deviation of that noise.", minimum=0.0, effective=lambda params: params.second == "nudged")
    discrepancy: float = option(1.0, help="Weight of the discrepancy of both heads, which is maximised.", minimum=0.0)
    entropy: float = option(0.0, help="Weight of the entropy of pixels without a pseudo label; 3 in IAST's own training.", minimum=0.0)
    divergence: float = option(
        0.0, help="Weight of the divergence from uniform of pixels with one; 0.1 in IAST's own training.", minimum=0.0
    )
    freeze_batchnorm: bool = like(TrainingParams, "freeze_batchnorm")
    resize: tuple[float, float] = option((1.0, 1.0), help="Range of the factor that images are resized by.", minimum=0.01)
    crop: int = like(TrainingParams, "crop", default=512)
    jitter: float = like(TrainingParams, "jitter", default=0.0)
    batch_size: int = option(2, help="Images an update.", minimum=1)
    epochs: int = option(6, help="Passes over the split.", minimum=1, effective=lambda params: not params.iterations)
    iterations: int = option(5_000, help="Updates, in place of epochs; 0 counts epochs.", minimum=0)
    lr: float = option(2.5e-4, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    head_lr_scale: float = like(TrainingParams, "head_lr_scale")
    momentum: float = option(0.9, help="Momentum.", minimum=0.0, maximum=1.0)
    weight_decay: float = like(TrainingParams, "weight_decay")
    warmup: int = option(0, help="Updates over which the learning rate grows.", minimum=0)
    warmup_share: float = like(TrainingParams, "warmup_share")
    min_updates: int = like(TrainingParams, "min_updates", effective=lambda params: not params.iterations)
    clip_norm: float = like(TrainingParams, "clip_norm")
    seed: int = option(0, help="Seed of the second head, order and augmentation.", minimum=0)
    precision: str = like(TrainingParams, "precision")

    @property
    def usual_epochs(self) -> int:
        """The epochs of a training for which none are given."""
        return default_epochs(self)

    def __post_init__(self) -> None:
        """Fill in what follows from the number of the round."""
        if not self.model:
            object.__setattr__(self, "model", f"train-uda@{self.round - 1}")
