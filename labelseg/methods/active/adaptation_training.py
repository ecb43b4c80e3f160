"""The training between two domains: cross entropies, and predictions of the target that are to look like those of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.errors import DataError, UsageError
from labelseg.methods.active.adaptation_params import reads_answers, reads_source
from labelseg.methods.active.adaptation_samples import DomainView
from labelseg.models.adaptation import SMALLEST, AdaptationNet, AdaptationOutputs, Discriminator
from labelseg.models.networks import helper_arrays, load_network, to_model
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.states import load_arrays, state_arrays
from labelseg.ops.losses import cross_entropy
from labelseg.pipeline.engines.inputs import Inputs, Item, Model
from labelseg.training.fitting import demand_batch, epoch_metrics, make_backbone, run_training, usual_optimization
from labelseg.training.loop import TrainingSet
from labelseg.training.optimization import ParameterGroup, parameter_groups
from labelseg.training.pairs import PairedSamples
from labelseg.training.samples import Samples
from labelseg.training.validation import demand_held, demand_labelled, masked_validation, segmenter_scores

if TYPE_CHECKING:
    from labelseg.methods.active.adaptation_params import Params

DISCRIMINATOR = "discriminator."
BETAS = (0.9, 0.99)


def adaptation_losses(out: AdaptationOutputs, batch: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Compute the losses of a batch.

    Args:
        out: What the networks say of it.
        batch: ``mask`` and ``answers``, (B, H, W) class ids or 255, of the images of source and target.
        weights: Of ``source``, ``answers`` and ``adversarial``; what weighs 0 is left out.

    Returns:
        ``loss``, what is minimised: the weighted sum, and the loss of the discriminator, whose gradients reach no other network; and the
        parts. A crop without an answer has a loss of 0 there.

    Source: Shin et al. 2021, L_st; Tsai et al. 2018, published code, for the adversarial part; spec labor 1.3.
    """
    parts: dict[str, Tensor] = {}
    if weights["source"] and out.source is not None:
        parts["source"] = cross_entropy(out.source, batch["mask"])
    if weights["answers"] and out.target is not None:
        parts["answers"] = cross_entropy(out.target, batch["answers"])
    if out.judged is not None:
        parts["adversarial"] = _judged(out.judged, 0.0)
    total = sum((weights[name] * value for name, value in parts.items()), torch.zeros(()))
    if out.of_source is not None and out.of_target is not None:
        parts["discriminator"] = (_judged(out.of_source, 0.0) + _judged(out.of_target, 1.0)) / 2
        total = total + parts["discriminator"]
    return {"loss": total, **{f"loss_{name}": value for name, value in parts.items()}}


def train_adapted(inputs: Inputs, params: Params) -> Model:
    """Train a segmenter on a source domain and what is known of a target domain.

    Raises:
        UsageError: nothing is left to learn from, or the parameters contradict each other.
        DataError: no image of the source has a mask.
    """
    name = inputs.instance or "train-uda"
    answered = reads_answers(params)
    if not (params.source_weight > 0 or answered):
        raise UsageError(f"{name}: nothing to learn from. Give --source-weight, or --answers with --answer-weight, above 0.")
    if params.adversarial and params.crop < SMALLEST:
        raise UsageError(f"{name}: crop {params.crop}, but the discriminator needs {SMALLEST} pixels. Give at least: --crop {SMALLEST}")
    held = masked_validation(inputs)
    demand_held(name, params, held)
    demand_labelled(name, held, Item.mask)
    segmenter = _segmenter(inputs, params)
    net = AdaptationNet(segmenter, _discriminator(inputs, params) if params.adversarial else None)
    samples = _samples(name, inputs, params)
    demand_batch(name, inputs, params, segmenter, len(samples))
    weights = {
        "source": params.source_weight,
        "answers": params.answer_weight if answered else 0.0,
        "adversarial": params.adversarial,
    }

    def loss(module: nn.Module, batch: Any) -> dict[str, Tensor]:
        return adaptation_losses(module(batch.get("image"), batch.get("target")), batch, weights)

    def evaluate(module: nn.Module) -> Mapping[str, float]:
        return segmenter_scores(segmenter, held, len(inputs.classes), inputs.device, params.precision)

    result = run_training(
        inputs,
        params,
        net,
        samples,
        loss,
        groups=_groups(net, params),
        optimization=usual_optimization(params),
        evaluate=evaluate if held else None,
        select="mIoU",
        evaluate_every=params.evaluate_every,
        iterations=params.iterations,
    )
    net.load_state_dict(result.best if params.keep == "best" else result.last)
    tensors, meta = to_model(segmenter, {"classes": list(inputs.classes), "round": params.round})
    if net.discriminator is not None:
        tensors |= {DISCRIMINATOR + key: array for key, array in state_arrays(net.discriminator).items()}
        meta |= {"helpers": [DISCRIMINATOR]}
    return Model(tensors=tensors, meta=meta, metrics=epoch_metrics(result), curves=result.curves)


def demand_all_classes(name: str, model: Model, classes: Sequence[str], what: str) -> None:
    """Refuse a segmenter that knows other classes than the data has.

    Raises:
        UsageError: it knows some of them only, or others.
    """
    known = list(model.meta.get("classes", classes))
    if "class_ids" in model.meta or known != list(classes):
        raise UsageError(f"{name}: {what} knows other classes than the data: {', '.join(known)}. Name one trained on these classes.")


def _segmenter(inputs: Inputs, params: Params) -> Segmenter:
    """Build the network, or take over that of the round before."""
    if not params.previous:
        backbone = make_backbone(inputs, params)
        return Segmenter(backbone, len(inputs.classes), params.head, params.width, "group", params.separable)  # type: ignore[arg-type]
    before = inputs.model("previous")
    net: Segmenter = load_network(before, "segmenter")
    demand_all_classes(inputs.instance, before, inputs.classes, params.previous)
    if params.freeze_batchnorm:
        net.backbone.freeze_batchnorm()
    net.backbone.freeze_blocks(params.freeze_blocks)
    return net.train()


def _discriminator(inputs: Inputs, params: Params) -> Discriminator:
    """Make the discriminator, or take over that of the round before where it had one."""
    torch.manual_seed(params.seed)
    net = Discriminator(len(inputs.classes))
    if params.previous and DISCRIMINATOR in inputs.model("previous").meta.get("helpers", ()):
        load_arrays(net, helper_arrays(inputs.model("previous").tensors, DISCRIMINATOR), f"discriminator of {params.previous}")
    return net


def _samples(name: str, inputs: Inputs, params: Params) -> TrainingSet:
    """Gather what is read of both domains."""
    source = DomainView(("image", "mask"), params.crop, params.resize, params.jitter, "")
    target = DomainView(("target", "answers"), params.crop, params.resize, params.jitter, "answers" if reads_answers(params) else None)
    of_source = [item for item in inputs.items("source") if item.has("mask")]
    of_target = inputs.items()
    if reads_source(params) and not of_source:
        raise DataError(f"{name}: no image of split '{params.source}' has a true mask. Name one of the source: --source SPLIT")
    if not reads_source(params):
        return Samples(of_target, target)  # type: ignore[arg-type]
    if not len(of_target):
        return Samples(of_source, source)  # type: ignore[arg-type]
    return PairedSamples(of_source, of_target, source, target)


def _groups(net: AdaptationNet, params: Params) -> list[ParameterGroup]:
    """Give the segmenter its groups, and the discriminator an Adam with a rate of its own."""
    groups = parameter_groups(net.segmenter, params.weight_decay, head_scale=params.head_lr_scale)
    if net.discriminator is not None:
        scale = params.discriminator_lr / params.lr if params.lr else 0.0
        groups.append(ParameterGroup(parameters=list(net.discriminator.parameters()), lr_scale=scale, betas=BETAS))
    return groups


def _judged(logits: Tensor, domain: float) -> Tensor:
    """Compute how far logits are from telling a domain: 0 is the source, 1 the target."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, domain, dtype=torch.float32))
