"""The pixel selector: pseudo labels of the target images, and the training of two heads that are to disagree."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelseg.class_ids import IGNORE
from labelseg.errors import UsageError
from labelseg.inference.predictor import Predictor, class_probabilities
from labelseg.methods.active.adaptation_training import demand_all_classes
from labelseg.models.adaptation import TwinSegmenter
from labelseg.models.encoders.registry import build_like
from labelseg.models.networks import helper_arrays, load_network, to_model
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.states import load_arrays, state_arrays
from labelseg.ops.active.iast import START, carry_thresholds, confident_labels, divergence_from_uniform, entropy_of_ignored
from labelseg.ops.active.selector import discrepancy, nudge, selector_loss
from labelseg.pipeline.engines.inputs import Inputs, Item, Model
from labelseg.training.fitting import demand_batch, epoch_metrics, run_training
from labelseg.training.optimization import Optimization, parameter_groups
from labelseg.training.samples import MaskedImage, Samples, Target, mask_target, readable

if TYPE_CHECKING:
    from labelseg.methods.active.selector_params import Params

SECOND = "second."
_SECOND = 7  # first word of the seed of a second head


@dataclass(frozen=True)
class PseudoLabels:
    """Labels of images by id, packed: (H, W) uint8 each.

    Attributes:
        packed: Id -> size and compressed bytes.
        thresholds: (K,) float64, those after the last image.
    """

    packed: Mapping[str, tuple[tuple[int, int], bytes]]
    thresholds: NDArray[np.float64]

    def __call__(self, item: Item) -> NDArray[np.uint8]:
        """Unpack the label of an item."""
        size, data = self.packed[item.id]
        return np.frombuffer(zlib.decompress(data), np.uint8).reshape(size)

    def target(self, item: Item) -> Target:
        """Give the label of an item as what is to be learned of it."""
        return mask_target(self(item))

    def share(self) -> float:
        """Compute the share of pixels that have a label."""
        labels = [np.frombuffer(zlib.decompress(data), np.uint8) for _, data in self.packed.values()]
        return float(sum((label != IGNORE).sum() for label in labels) / max(1, sum(label.size for label in labels)))


def pseudo_labels(
    items: Sequence[Item], predictor: Predictor, n_classes: int, alpha: float, beta: float, gamma: float, group: int
) -> PseudoLabels:
    """Label images one group after the other, in their order, with thresholds that are carried along.

    An image that cannot be read is passed over with a warning.

    Args:
        items: The images, in the order of their ids.
        predictor: The segmenter.
        n_classes: Number of classes.
        alpha, beta, gamma: As of ``carry_thresholds``.
        group: Images that move thresholds together, before any of them is labelled.

    Source: Mei et al. 2020 (IAST), published code; spec labor 1.4.
    """
    thresholds, packed = np.full(n_classes, START), {}
    waiting: list[tuple[str, NDArray[np.float32]]] = []

    def label() -> None:
        nonlocal thresholds
        thresholds = carry_thresholds(thresholds, [probabilities for _, probabilities in waiting], alpha, beta, gamma)
        for image_id, probabilities in waiting:
            labels = confident_labels(probabilities, thresholds)
            packed[image_id] = ((labels.shape[0], labels.shape[1]), zlib.compress(labels.tobytes(), 1))
        waiting.clear()

    for image_id, image in readable(items, lambda item: (item.id, item.image()), "the pseudo labels"):
        waiting.append((image_id, class_probabilities(predictor, image, (1.0,), False)))
        if len(waiting) == group:
            label()
    if waiting:
        label()
    return PseudoLabels(packed, thresholds)


def train_twins(inputs: Inputs, params: Params) -> Model:
    """Label the target images with a trained segmenter, and train a copy of it with two heads on these labels.

    Raises:
        UsageError: what is named is no segmenter of these classes.
        DataError: no image can be read.
    """
    name = inputs.instance or "train-selector"
    model = inputs.model("model")
    trained: Segmenter = load_network(model, "segmenter")
    demand_all_classes(name, model, inputs.classes, params.model)
    n_classes = len(inputs.classes)
    alpha = params.alpha[min(params.round, len(params.alpha)) - 1]
    labels = pseudo_labels(
        inputs.items(), Predictor(trained, inputs.device, params.precision), n_classes, alpha, params.beta, params.gamma, params.group
    )
    items = [item for item in inputs.items() if item.id in labels.packed]
    net = twins(load_network(model, "segmenter"), params.second, params.noise, params.seed)
    if params.freeze_batchnorm:
        net.segmenter.backbone.freeze_batchnorm()
    net.train()
    make = MaskedImage(params.crop, params.resize, params.jitter, labels.target)
    demand_batch(name, inputs, params, net, len(items))  # type: ignore[arg-type]

    def loss(module: nn.Module, batch: Any) -> dict[str, Tensor]:
        first, second, *apart = module(batch[0])
        masks = batch[1]
        total = selector_loss(first, second, masks, (apart[0], apart[1]), params.discrepancy)
        for weight, term in ((params.entropy, entropy_of_ignored), (params.divergence, divergence_from_uniform)):
            if weight:
                total = total + weight * (term(first, masks) + term(second, masks))
        differ = (first.argmax(dim=1) != second.argmax(dim=1)).float().mean()
        return {"loss": total, "discrepancy": discrepancy(first, second).detach(), "inconsistent": differ}

    result = run_training(
        inputs,
        params,  # type: ignore[arg-type]
        net,
        Samples(items, make),
        loss,
        groups=parameter_groups(_as_one(net), params.weight_decay, head_scale=params.head_lr_scale),
        optimization=Optimization(lr=params.lr, momentum=params.momentum, warmup=params.warmup),
        iterations=params.iterations,
    )
    tensors, meta = to_model(net.segmenter, {"classes": list(inputs.classes), "round": params.round})
    tensors |= {SECOND + key: array for key, array in state_arrays(net.second).items()}
    thresholds = dict(zip(inputs.classes, labels.thresholds.tolist(), strict=True))
    meta |= {"helpers": [SECOND], "thresholds": thresholds}
    metrics = {**epoch_metrics(result), "pseudo_labelled": labels.share()}
    return Model(tensors=tensors, meta=meta, metrics=metrics, curves=result.curves)


def twins(segmenter: Segmenter, second: str, noise: float, seed: int) -> TwinSegmenter:
    """Put a second head beside that of a trained segmenter.

    Args:
        segmenter: Its head is the first one.
        second: ``nudged``: a copy with noise; ``fresh``: one that begins anew.
        noise: Standard deviation of that noise.
        seed: Of either.

    Source: ours; spec labor 1.1: heads that begin equal never separate.
    """
    # The seed alone would give the weights that the first head began from, where that was trained under the same one.
    torch.manual_seed(int(np.random.SeedSequence((_SECOND, seed)).generate_state(1, np.uint64)[0]))
    other = Segmenter(build_like(segmenter.backbone), **segmenter.settings).head  # type: ignore[arg-type]
    if second == "nudged":
        other.load_state_dict(segmenter.head.state_dict())
        nudge(list(other.parameters()), noise, seed)
    return TwinSegmenter(segmenter, other)


def load_twins(model: Model) -> TwinSegmenter:
    """Rebuild a finished pixel selector, in evaluation mode.

    Raises:
        UsageError: the model is none.
    """
    if SECOND not in model.meta.get("helpers", ()):
        raise UsageError("the selector: expected a model with two heads. Name an instance of train-selector: --selector train-selector@1")
    segmenter: Segmenter = load_network(model, "segmenter")
    net = twins(segmenter, "fresh", 0.0, 0)
    load_arrays(net.second, helper_arrays(model.tensors, SECOND), "second head of the selector")
    return net.eval()  # type: ignore[return-value]


def _as_one(net: TwinSegmenter) -> nn.Module:
    """Name the parameters as those of one network: what lies under ``backbone`` is pretrained."""
    return nn.ModuleDict({"backbone": net.segmenter.backbone, "head": net.segmenter.head, "second": net.second})
