"""From the parameters of a training stage to a trained model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labelseg.errors import DataError, LabelsegError, UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.heads.unimatch_head import UniMatchHead
from labelseg.models.networks import Network, to_model
from labelseg.models.weights.backbone_weights import load_weights
from labelseg.models.weights.states import load_arrays
from labelseg.pipeline.engines.inputs import Inputs, Model
from labelseg.pipeline.instances import run_command, stage_of, table_of
from labelseg.training.loop import TrainingSet, TrainResult, TrainTask, train
from labelseg.training.optimization import Optimization, ParameterGroup, parameter_groups
from labelseg.training.params import schedule

if TYPE_CHECKING:
    from labelseg.training.params import TrainingParams

Evaluate = Callable[[nn.Module], Mapping[str, float]]


def make_backbone(inputs: Inputs, params: TrainingParams) -> Backbone:
    """Build the backbone of a training, with its initial weights and what is frozen; seeds torch for the head that follows."""
    torch.manual_seed(params.seed)
    backbone = build_backbone(params.backbone, params.output_stride, params.dilate)
    if params.init:
        tensors = inputs.model("init").tensors
        own = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
        load_arrays(backbone, own, f"backbone of {params.init} for {params.backbone}")
        backbone.licence = inputs.model("init").meta.get("licence", "")
    else:
        load_initial_weights(inputs, backbone, params.weights)
    if params.freeze_batchnorm:
        backbone.freeze_batchnorm()
    return backbone.freeze_blocks(params.freeze_blocks)


def take_over(inputs: Inputs, params: Any, net: Network, *, by_class: bool = False) -> None:
    """Load the whole network that a training begins from into its own, where that is asked for: ``TakingParams``.

    Args:
        by_class: Whether the network has an output for each class, so that those of the data must be its own, in the same order.

    Raises:
        DataError: it has other tensors, or other classes.
    """
    if not params.init or params.take != "network":
        return
    known = list(inputs.model("init").meta.get("classes", inputs.classes))
    if by_class and known != list(inputs.classes):
        raise DataError(
            f"{inputs.instance}: expected {params.init} to name the classes of the data, {', '.join(inputs.classes)}; found "
            f"{', '.join(map(str, known))}. Train it again: {run_command(params.init)}, or take the backbone alone: --take backbone"
        )
    try:
        load_arrays(net, inputs.model("init").tensors, f"network of {params.init}")
    except DataError as error:
        stage = stage_of(inputs.instance)
        raise DataError(
            f"{error} Name a {stage} with the same backbone and options of the network, or take the backbone alone: --take backbone"
        ) from error


def load_initial_weights(inputs: Inputs, backbone: Backbone, weights: str) -> None:
    """Load initial weights into a backbone, as ``load_weights``; what is wrong names the instance and the command that sets them."""
    try:
        if taken := load_weights(backbone, weights):
            inputs.log({"weights": weights, "taken": dict(taken.parts), "random": list(taken.random), "left": list(taken.left)})
        if backbone.licence:
            inputs.log({"weights": weights, "licence": backbone.licence})
    except LabelsegError as error:
        setting = shlex.quote(f"{table_of(inputs.instance)}.weights")
        raise type(error)(
            f"{inputs.instance}: {error} Here: labelseg config {setting} FILE, or none in place of FILE to begin from random ones."
        ) from error


def demand_batch(name: str, inputs: Inputs, params: TrainingParams, net: nn.Module, samples: int, images: int = 1) -> None:
    """Demand that a head which normalises over the images of a pass never gets one alone.

    Args:
        name: Of the training, for the message.
        net: The network; of its heads only that of published UniMatch networks is so.
        samples: Length of the set.
        images: Images of the smallest pass in training mode, for each sample of a batch.

    Raises:
        UsageError: Some pass would hold one image.
    """
    if not any(isinstance(module, UniMatchHead) for module in net.modules()):
        return
    devices = inputs.ranks
    batch = min(params.batch_size, samples)
    if batch // devices * images != 1:
        return
    needed = 2 * devices
    remedy = f"Give at least --batch-size {needed}" if samples >= needed else f"Name at least {needed} images"
    raise UsageError(
        f"{name}: head unimatch normalises over the images that pass together and expects two of them; "
        f"of a batch of {batch} on {devices} device{'s' * (devices > 1)} one passes alone. {remedy}, or another head: --head deeplabv3plus"
    )


def fit(
    inputs: Inputs,
    params: TrainingParams,
    net: Network,
    samples: TrainingSet,
    loss: Callable[[nn.Module, Any], Mapping[str, Tensor]],
    *,
    evaluate: Evaluate | None = None,
    select: str = "",
    evaluate_every: int = 1,
    keep: str = "last",
    iterations: int = 0,
    patience: int = 0,
    groups: Sequence[ParameterGroup] | None = None,
    teacher: Network | None = None,
    ratios: Mapping[str, tuple[str, str]] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Model:
    """Train a network under the parameters that all training stages share.

    Args:
        inputs: Device, workers, checkpoints and log.
        params: Epochs, batch size, learning rate and so on.
        net: Trained in place.
        samples: The training set.
        loss: Maps the network and a batch to scalar tensors of shape (); the one named ``loss`` is minimised.
        evaluate: Maps the network to metrics on the validation split.
        select: The metric whose highest value marks the best epoch.
        keep: Weights of which epoch: ``last`` or ``best``.
        iterations: Updates in place of ``params.epochs``; 0 takes those.
        patience, ratios: As of a ``TrainTask``.
        groups: What is trained and how; None takes ``parameter_groups``.
        teacher: A copy of the network that follows it and is kept in its place.
        meta: JSON to be kept with the model.

    Returns:
        The weights of the last or the best epoch, the metrics of both and the curves.
    """
    result = run_training(
        inputs,
        params,
        net,
        samples,
        loss,
        groups=groups or parameter_groups(net, params.weight_decay, head_scale=params.head_lr_scale),
        optimization=usual_optimization(params),
        evaluate=evaluate,
        select=select,
        evaluate_every=evaluate_every,
        iterations=iterations,
        patience=patience,
        teacher=teacher,
        ratios=ratios,
    )
    kept = teacher or net
    kept.load_state_dict(result.best if keep == "best" else result.last)
    tensors, described = to_model(kept, {"classes": list(inputs.classes), **(meta or {})})
    return Model(tensors=tensors, meta=described, metrics=epoch_metrics(result), curves=result.curves)


def run_training(
    inputs: Inputs,
    params: TrainingParams,
    module: nn.Module,
    samples: TrainingSet,
    loss: Callable[[nn.Module, Any], Mapping[str, Tensor]],
    *,
    groups: Sequence[ParameterGroup],
    optimization: Optimization,
    evaluate: Evaluate | None = None,
    select: str = "",
    evaluate_every: int = 1,
    iterations: int = 0,
    patience: int = 0,
    teacher: nn.Module | None = None,
    ratios: Mapping[str, tuple[str, str]] | None = None,
) -> TrainResult:
    """Run the loop on any module, with groups and schedule of its own.

    Args:
        module: Trained in place.
        loss: Maps the module and a batch to scalar tensors of shape (); the one named ``loss`` is minimised.
        groups: What is trained and how.
        optimization: The optimiser and its schedule.
        inputs, params, samples, evaluate, select, evaluate_every, iterations, patience, teacher, ratios: As of ``fit``.

    Returns:
        The weights of the last and of the best epoch, and the curves.
    """
    length = schedule(params, len(samples), iterations)
    warmups = [updates for updates in (optimization.warmup, round(params.warmup_share * length.updates)) if updates]
    optimization = replace(
        optimization,
        warmup=min(warmups) if params.warmup_share and warmups else optimization.warmup,
        clip_norm=params.clip_norm or optimization.clip_norm,
    )
    return train(
        TrainTask(
            module=module,
            loss=loss,
            dataset=samples,
            groups=groups,
            optimization=optimization,
            batch_size=params.batch_size,
            epochs=None if iterations else length.epochs,
            iterations=iterations or None,
            seed=params.seed,
            device=inputs.device,
            ranks=inputs.ranks,
            precision=params.precision,  # type: ignore[arg-type]
            channels_last=True,
            workers=inputs.workers,
            checkpoints=inputs.checkpoints,
            evaluate=(lambda module, epoch: evaluate(module)) if evaluate else None,
            evaluate_every=evaluate_every * length.stretch,
            select=select if evaluate else "",
            patience=patience if evaluate else 0,
            teacher=teacher,
            ratios=ratios or {},
            log=inputs.log,
            progress=inputs.progress,
            title=inputs.instance or "training",
        )
    )


def usual_optimization(params: TrainingParams) -> Optimization:
    """Make the optimiser and its schedule as the shared parameters say."""
    return Optimization(lr=params.lr, kind=params.optimizer, momentum=params.momentum, warmup=params.warmup)  # type: ignore[arg-type]


def epoch_metrics(result: TrainResult) -> dict[str, Any]:
    """Pick the records of the last and the best epoch."""
    return {"last": result.curves[-1], "best": result.curves[result.best_epoch - 1], "best_epoch": result.best_epoch}
