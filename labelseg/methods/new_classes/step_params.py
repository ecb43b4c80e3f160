"""The parameters of a class-incremental step."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.pipeline.declare.stage import like, option, source, split_option
from labelseg.training.params import EvaluatedTrainingParams

# Published lengths and rates: of step 0, and of later ones.
EPOCHS, LR, HEAD_LR_SCALE = (30, 40), (0.01, 0.001), (1.0, 10.0)


def _is_trained(params: Params) -> bool:
    return not params.adopt


def _is_built(params: Params) -> bool:
    return params.step == 0 and not params.adopt


def _takes_weights(params: Params) -> bool:
    return _is_built(params) and not params.init


def _is_watched(params: Params) -> bool:
    return _is_trained(params) and bool(params.validation)


def _computes(params: Params) -> bool:
    return _is_trained(params) or bool(params.validation)


def _replays(params: Params) -> bool:
    return _is_weak(params) and bool(params.replay)


def _differs_as_published(params: Params) -> bool:
    return params.pamr if _is_weak(params) else _is_trained(params)


def _is_later(params: Params) -> bool:
    return params.step > 0


def _is_weak(params: Params) -> bool:
    return params.step > 0 and not params.labels


def _mixes_labels(params: Params) -> bool:
    return _is_weak(params) and (not params.pseudo or bool(params.negatives or params.replay))


def _mixes_background(params: Params) -> bool:
    return _is_weak(params) and (not params.pseudo or bool(params.negatives))


@dataclass(frozen=True, kw_only=True)
class Params(EvaluatedTrainingParams):
    """Parameters of ``wilson``."""

    split: str = like(EvaluatedTrainingParams, "split", effective=_is_trained)
    backbone: str = like(EvaluatedTrainingParams, "backbone", effective=_is_built)
    weights: str = like(EvaluatedTrainingParams, "weights", effective=_takes_weights)
    output_stride: int = like(EvaluatedTrainingParams, "output_stride", effective=_is_built)
    dilate: bool = like(EvaluatedTrainingParams, "dilate", effective=_is_built)
    freeze_blocks: int = like(EvaluatedTrainingParams, "freeze_blocks", effective=_is_trained)
    freeze_batchnorm: bool = like(EvaluatedTrainingParams, "freeze_batchnorm", effective=_is_trained)
    optimizer: str = like(EvaluatedTrainingParams, "optimizer", effective=_is_trained)
    momentum: float = like(EvaluatedTrainingParams, "momentum", effective=_is_trained)
    precision: str = like(EvaluatedTrainingParams, "precision", effective=_computes)
    keep: str = like(EvaluatedTrainingParams, "keep", effective=_is_trained)
    step: int = option(0, help="Number of the step; 0 learns the base classes from masks.", minimum=0)
    task: str = option(
        "",
        help="Classes of all steps: a name such as 15-5, or cat,dog;cow;horse,sheep.",
        shared=True,
        effective=lambda params: False,  # through the classes of the step, which are in the key
    )
    new: tuple[str, ...] = option((), help="Classes this step learns; empty takes those of the task.")
    scenario: str = option(
        "overlap", help="Images of a step: all with a new class (overlap), those without later classes (disjoint), separate data sets.",
        choices=("overlap", "disjoint", "separate"), shared=True,
    )  # fmt: skip
    previous: str = source("", help="Instance of the step before; empty takes wilson@STEP-1.", kind="model")
    adopt: str = source("", help="Trained segmenter to take over as step 0 instead of training one.", kind="model")
    labels: str = source(
        "", help="Masks to learn from; empty takes true masks at step 0 and tags at later steps.", kind="labels", effective=_is_trained
    )
    pseudo: str = source(
        "",
        help="Masks that teach a later step its new classes in place of the localizer, such as propagate; an extension.",
        kind="labels",
        effective=_is_weak,
    )
    negatives: str = split_option(
        "", help="Split of tagged images that a later step adds where they hold none of the new classes; an extension.", effective=_is_weak
    )
    replay: str = split_option("", help="Split of stored old images with masks that a later step adds; an extension.", effective=_is_weak)
    init: str = source(
        "", help="Instance whose backbone step 0 takes instead of weights; empty takes weights.", kind="model", effective=_is_built
    )
    replay_images: int = option(0, help="Images kept of the replayed split, chosen by the seed; 0 is all.", minimum=0, effective=_replays)
    all_tags: bool = option(False, help="Use tags of old classes too, in the localizer's losses.", effective=_is_weak)
    alpha: float = option(0.5, help="Share of hard labels in the pseudo labels.", minimum=0.0, maximum=1.0, effective=_mixes_labels)
    background_mix: float = option(
        -1.0, help="Share of the localizer in the background's target; negative takes the lower of old segmenter and localizer.",
        minimum=-1.0, maximum=1.0, effective=_mixes_background,
    )  # fmt: skip
    pamr: bool = option(True, help="Refine the localizer's own labels by PAMR.", effective=_is_weak)
    feature_weight: float = option(1.0, help="Weight of the loss that holds the encoder to what it was.", minimum=0.0, effective=_is_weak)
    warmup_epochs: int = option(5, help="Epochs before pseudo labels are made; until then rates stay.", minimum=0, effective=_is_weak)
    new_head: str = option("random", help="How channels of new classes begin.", choices=("random", "balanced"), effective=_is_later)
    localizer_width: int = option(256, help="Channels inside the localizer.", minimum=8, effective=_is_weak)
    head: str = option(
        "deeplabv3", help="Head of the segmenter: on the last level alone, or with the stride-4 level too.",
        choices=("deeplabv3", "deeplabv3plus"), effective=_is_built,
    )  # fmt: skip
    width: int = option(256, help="Channels inside the head.", minimum=16, effective=_is_built)
    separable: bool = option(True, help="Depthwise-separable convolutions in the head: several times cheaper.", effective=_is_built)
    batch_size: int = option(24, help="Images an update.", minimum=1, effective=_is_trained)
    epochs: int = option(0, help="Passes over the images; 0 takes 30 at step 0 and 40 later.", minimum=0, effective=_is_trained)
    lr: float = option(
        0.0, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9. 0 takes 0.01 at step 0 and 0.001 later.",
        minimum=0.0, effective=_is_trained,
    )  # fmt: skip
    head_lr_scale: float = option(
        0.0,
        help="Learning rate of all other layers, relative to the backbone's; 0 takes 1 at step 0 and 10 later.",
        minimum=0.0,
        effective=_is_trained,
    )
    weight_decay: float = option(1e-4, help="Weight decay of all parameters.", minimum=0.0, effective=_is_trained)
    warmup: int = option(0, help="Updates over which the learning rate grows.", minimum=0, effective=_is_trained)
    warmup_share: float = like(EvaluatedTrainingParams, "warmup_share", effective=_is_trained)
    min_updates: int = like(EvaluatedTrainingParams, "min_updates", effective=_is_trained)
    clip_norm: float = like(EvaluatedTrainingParams, "clip_norm", effective=_is_trained)
    crop: int = option(512, help="Side of the square crops, pixels.", minimum=8, effective=_is_trained)
    jitter: float = option(0.0, help="Strength of colour jitter; a third of it for hue.", minimum=0.0, maximum=1.0, effective=_is_trained)
    seed: int = option(42, help="Seed of initial weights, order and augmentation.", minimum=0, effective=_is_trained)
    protocol: str = option(
        "full",
        help="Scores on full images, or on the published centre crops besides.",
        choices=("full", "crop512"),
        effective=lambda params: bool(params.validation),
    )
    evaluate_every: int = option(5, help="Epochs between evaluations on the validation split.", minimum=1, effective=_is_watched)
    wilson_compat: bool = option(
        False,
        help="As published: void trained as background, and images for PAMR with a shifted blue mean.",
        effective=_differs_as_published,
    )

    @property
    def usual_epochs(self) -> int:
        """The published length of the step."""
        return EPOCHS[min(self.step, 1)]

    def __post_init__(self) -> None:
        """Fill in what follows from the task and the number of the step, so that a value and what stands for it have one key."""
        from labelseg.data.tasks import ALIASES, step_classes

        if self.task and not self.new:
            object.__setattr__(self, "new", step_classes(self.task, self.step))
        if ALIASES.get(self.task, self.task) == "coco-to-voc":
            object.__setattr__(self, "scenario", "separate")
        if self.step > 0 and not self.previous:
            object.__setattr__(self, "previous", f"wilson@{self.step - 1}")
        if self.step == 0 and not self.labels and not self.adopt:
            object.__setattr__(self, "labels", "masks")
        later = min(self.step, 1)
        object.__setattr__(self, "epochs", self.epochs or EPOCHS[later])
        object.__setattr__(self, "lr", self.lr or LR[later])
        object.__setattr__(self, "head_lr_scale", self.head_lr_scale or HEAD_LR_SCALE[later])
        object.__setattr__(self, "background_mix", self.background_mix if self.background_mix >= 0 else -1.0)
