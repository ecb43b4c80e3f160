"""Trainings of class-incremental steps: from masks, from image labels (WILSON), or a trained segmenter taken over."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labelseg.class_ids import IGNORE
from labelseg.data.augment.transforms import IMAGENET_MEAN
from labelseg.data.label_maps import label_map
from labelseg.errors import UsageError
from labelseg.methods.new_classes.increments import SIGMOID, SOFTMAX, Increment, read_increment, single_class_refusal
from labelseg.methods.new_classes.step_samples import LabelledCrop, MaskedCrop, StepSamples, item_classes, tagged
from labelseg.models.encoders.registry import build_like
from labelseg.models.localizer import Localizer, StepNetwork
from labelseg.models.networks import helper_arrays, known_classes, load_network, to_model
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.states import load_arrays, load_state, state_arrays
from labelseg.ops.new_classes.wilson import dense_loss, grow_classifier
from labelseg.ops.new_classes.wilson_step import DenseMasks, MaskKind, StepSettings, step_losses
from labelseg.pipeline.engines.inputs import Inputs, Item, Model
from labelseg.training.fitting import Evaluate, demand_batch, epoch_metrics, make_backbone, run_training
from labelseg.training.loop import TrainResult
from labelseg.training.optimization import Optimization, ParameterGroup
from labelseg.training.samples import Samples, source_mask
from labelseg.training.validation import demand_held, demand_labelled, masked_validation, step_scores

if TYPE_CHECKING:
    from labelseg.methods.new_classes.step_params import Params

LOCALIZER = "localizer."
GUIDED = "guided"  # learned its new classes from masks
PUBLISHED_CROP = 512
# The published code undoes the normalisation with another blue mean than it normalised with.
PUBLISHED_MEAN = (0.485, 0.456, 0.4069)


def adopt(inputs: Inputs, params: Params) -> Model:
    """Take a trained segmenter over as step 0, with the channels of the base classes.

    Raises:
        UsageError: it is no segmenter, or does not know a class.
    """
    model = inputs.model("adopt")
    old = load_network(model, "segmenter")
    increment = read_increment(inputs, params, model)
    known = known_classes(model.meta)
    rows = torch.tensor([known.index(class_id) for class_id in increment.class_ids])
    last = old.get_submodule(old.last_layer)
    net = _with_classifier(old, last.weight[rows], last.bias[rows])
    held = _held(inputs, params, increment.name)
    metrics = dict(_evaluation(inputs, params, net, increment, held)(net)) if held else {}
    tensors, meta = to_model(net, increment.meta(model.meta.get("activation", SOFTMAX)))
    return Model(tensors=tensors, meta=meta, metrics={"last": metrics, "best": metrics, "best_epoch": 0}, curves=[])


def train_dense(inputs: Inputs, params: Params) -> Model:
    """Train on masks: step 0, or at a later step plain fine-tuning on the masks of the new classes alone.

    Raises:
        UsageError: the step is not possible so.
        DataError: a new class is in no image.
    """
    before = inputs.model("previous") if params.previous else None
    increment = read_increment(inputs, params, before)
    items = increment.select(inputs.items(), lambda item: item_classes(item, source_mask))
    net = _new_segmenter(inputs, params, increment) if before is None else _grown(inputs, params, before, increment)
    demand_batch(increment.name, inputs, params, net, len(items))
    held = _held(inputs, params, increment.name)
    first = 1 if before is None else increment.n_old
    channels = label_map(increment.class_ids, first, 0 if params.wilson_compat else IGNORE)

    def loss(module: nn.Module, batch: Any) -> dict[str, Tensor]:
        return {"loss": dense_loss(module(batch[0]).float(), batch[1])}

    result = run_training(
        inputs,
        params,
        net,
        Samples(items, MaskedCrop(params.crop, params.jitter, channels, source_mask)),
        loss,
        groups=_groups(net.backbone.parameters(), net.head.parameters(), params=params),
        optimization=_optimization(params, 0),
        evaluate=_evaluation(inputs, params, net, increment, held) if held else None,
        select="mIoU",
        evaluate_every=params.evaluate_every,
    )
    net.load_state_dict(_kept(params, result))
    tensors, meta = to_model(net, increment.meta(SIGMOID))
    return Model(tensors=tensors, meta=meta, metrics=_metrics(result, len(items)), curves=result.curves)


def train_weak(inputs: Inputs, params: Params) -> Model:
    """Learn new classes from image labels: a step of WILSON.

    Raises:
        UsageError: the step is not possible so.
        DataError: a new class is in no image.
    """
    before = inputs.model("previous")
    increment = read_increment(inputs, params, before)
    samples = _weak_samples(inputs, params, increment)
    old = load_network(before, "segmenter")
    segmenter = _grown(inputs, params, before, increment)
    demand_batch(increment.name, inputs, params, segmenter, len(samples))
    held = _held(inputs, params, increment.name)
    localizer = Localizer(segmenter.backbone.channels[-1], len(increment.class_ids), params.localizer_width)
    if params.epochs <= params.warmup_epochs:
        raise UsageError(
            f"{increment.name}: epochs {params.epochs}, all of which pass before pseudo labels are made (warmup-epochs "
            f"{params.warmup_epochs}): no new class would be learned. Give more: --epochs {2 * params.warmup_epochs}"
        )
    warmup = params.warmup_epochs * (len(samples) // min(params.batch_size, len(samples)))
    is_softmax = before.meta.get("activation", SOFTMAX) == SOFTMAX
    net = StepNetwork(segmenter, localizer, old, is_softmax, warmup)
    settings = step_settings(params)

    def loss(module: nn.Module, batch: Any) -> dict[str, Tensor]:
        images, labels, masks, kinds = batch
        dense = DenseMasks(masks, kinds) if bool(kinds.any()) else None
        return step_losses(module(images), images, labels, settings, dense)

    result = run_training(
        inputs,
        params,
        net,
        samples,
        loss,
        groups=_groups(segmenter.backbone.parameters(), segmenter.head.parameters(), localizer.parameters(), params=params),
        optimization=_optimization(params, warmup),
        evaluate=_evaluation(inputs, params, segmenter, increment, held) if held else None,
        select="mIoU",
        evaluate_every=params.evaluate_every,
    )
    net.load_state_dict(_kept(params, result))
    tensors, meta = to_model(segmenter, increment.meta(SIGMOID, settings=asdict(settings), **({GUIDED: True} if params.pseudo else {})))
    tensors |= {LOCALIZER + name: array for name, array in state_arrays(localizer).items()}
    meta |= {"helpers": [LOCALIZER], "localizer": dict(localizer.settings)}
    return Model(tensors=tensors, meta=meta, metrics=_metrics(result, len(samples.positives)), curves=result.curves)


def load_step(model: Model, before: Model) -> tuple[StepNetwork, StepSettings]:
    """Rebuild the networks of a finished weak step, in evaluation mode.

    Raises:
        UsageError: the model is of no weak step, or ``before`` is not the model it started from.
    """
    if LOCALIZER not in model.meta.get("helpers", ()):
        raise UsageError("pseudo labels: the model learned nothing from image labels, so it has no localizer. Name a later step of wilson.")
    increment = model.meta["increment"]
    if increment.get(GUIDED):
        raise UsageError("pseudo labels: the step learned its new classes from masks (--pseudo): these are what to look at.")
    if model.meta["class_ids"][: increment["n_old"]] != known_classes(before.meta):
        raise UsageError("pseudo labels: the previous model knows other classes than the step started from. Name the right --previous.")
    localizer = Localizer(**model.meta["localizer"])
    load_arrays(localizer, helper_arrays(model.tensors, LOCALIZER), "localizer")
    is_softmax = before.meta.get("activation", SOFTMAX) == SOFTMAX
    net = StepNetwork(load_network(model, "segmenter"), localizer, load_network(before, "segmenter"), is_softmax)
    settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in increment["settings"].items()}
    return net.eval(), StepSettings(**settings)


def step_settings(params: Params) -> StepSettings:
    """Take from the parameters how losses are put together."""
    return StepSettings(
        alpha=params.alpha,
        all_tags=params.all_tags,
        background_mix=params.background_mix,
        refine=params.pamr,
        feature_weight=params.feature_weight,
        mean=PUBLISHED_MEAN if params.wilson_compat else IMAGENET_MEAN,
    )


def _weak_samples(inputs: Inputs, params: Params, increment: Increment) -> StepSamples:
    """Gather the images with new classes, and of others what was asked for."""
    positives = increment.select(tagged(inputs.items()), item_classes)
    negatives = increment.without_new(tagged(inputs.items("negatives")), item_classes)
    replayed = [item for item in inputs.items("replay") if item.has("mask")]
    replayed = increment.without_new(replayed, lambda item: item_classes(item, Item.mask))
    if params.replay_images:
        generator = torch.Generator().manual_seed(params.seed)
        order = torch.randperm(len(replayed), generator=generator)[: params.replay_images]
        replayed = [replayed[k] for k in sorted(order.tolist())]
    for split, found in ((params.negatives, negatives), (params.replay, replayed)):
        if split and not found:
            raise UsageError(f"{increment.name}: split '{split}' has no image without the new classes.")
    only_one = len(increment.new_ids) == 1 and all(increment.new_ids[0] in item_classes(item) for item in positives)
    if only_one and not (negatives or replayed):
        raise single_class_refusal(increment.name, inputs.classes[increment.new_ids[0]])
    make = LabelledCrop(params.crop, params.jitter, increment.class_ids)
    replaying = replace(make, read_mask=Item.mask, mask_kind=MaskKind.TRUE)
    others = [Samples(found, kind) for found, kind in ((negatives, make), (replayed, replaying)) if found]
    if params.pseudo:
        make = replace(make, read_mask=partial(source_mask, role="pseudo"), mask_kind=MaskKind.NEW_CLASSES)
    return StepSamples(Samples(positives, make), others)


def _new_segmenter(inputs: Inputs, params: Params, increment: Increment) -> Segmenter:
    """Build the segmenter of step 0."""
    backbone = make_backbone(inputs, params)
    pool = params.crop // backbone.output_stride if params.head == "deeplabv3" else 0
    return Segmenter(backbone, len(increment.class_ids), params.head, params.width, "group", params.separable, pool)  # type: ignore[arg-type]


def _grown(inputs: Inputs, params: Params, before: Model, increment: Increment) -> Segmenter:
    """Rebuild the segmenter before a step with channels for the new classes, and what is frozen."""
    old = load_network(before, "segmenter")
    torch.manual_seed(params.seed)
    last = old.get_submodule(old.last_layer)
    weight, bias = grow_classifier(last.weight.detach(), last.bias.detach(), len(increment.new_ids), params.new_head == "balanced")
    net = _with_classifier(old, weight, bias)
    if params.freeze_batchnorm:
        net.backbone.freeze_batchnorm()
    net.backbone.freeze_blocks(params.freeze_blocks)
    return net.train()


def _with_classifier(old: Segmenter, weight: Tensor, bias: Tensor) -> Segmenter:
    """Copy a segmenter with another last layer."""
    net = Segmenter(build_like(old.backbone), **{**old.settings, "n_classes": len(weight)})  # type: ignore[arg-type]
    state = {**old.state_dict(), f"{old.last_layer}.weight": weight, f"{old.last_layer}.bias": bias}
    load_state(net, state, "segmenter of the step before")
    return net


def _groups(backbone: Any, *others: Any, params: Params) -> list[ParameterGroup]:
    """Give the encoder its rate and all else another; weight decay acts on everything, as published."""
    new = [parameter for part in others for parameter in part]
    return [
        ParameterGroup(parameters=list(backbone), weight_decay=params.weight_decay),
        ParameterGroup(parameters=new, lr_scale=params.head_lr_scale, weight_decay=params.weight_decay),
    ]


def _optimization(params: Params, hold: int) -> Optimization:
    return Optimization(
        lr=params.lr,
        kind=params.optimizer,  # type: ignore[arg-type]
        momentum=params.momentum,
        warmup=params.warmup,
        hold=hold,
        nesterov=params.optimizer == "sgd" and params.momentum > 0,
    )


def _held(inputs: Inputs, params: Params, name: str) -> list[Item]:
    """Collect the images to evaluate on and check that they can be scored."""
    held = masked_validation(inputs)
    if not params.adopt:
        demand_held(name, params, held)
    demand_labelled(name, held, Item.mask)
    return held


def _evaluation(inputs: Inputs, params: Params, net: Segmenter, increment: Increment, held: list[Item]) -> Evaluate:
    """Score the segmenter on whole images, and if asked for as published besides."""

    def evaluate(module: nn.Module) -> dict[str, float]:
        crops = (0, PUBLISHED_CROP) if params.protocol == "crop512" else (0,)
        scores: dict[str, float] = {}
        for crop in crops:
            known = (inputs.classes, increment.class_ids, increment.n_old)
            scores |= step_scores(net, held, *known, inputs.device, params.precision, crop)
        return scores

    return evaluate


def _kept(params: Params, result: TrainResult) -> dict[str, Tensor]:
    return result.best if params.keep == "best" else result.last


def _metrics(result: TrainResult, images: int) -> dict[str, Any]:
    return {**epoch_metrics(result), "images": images}
