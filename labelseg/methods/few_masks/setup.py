"""What trainings from few masks have in common: images, the network to start from, and how it is watched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from labelseg.data.augment.views import Draw
from labelseg.errors import DataError, UsageError
from labelseg.methods.few_masks.checks import check_classes, check_crop, held_part
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.segmenter_files import read_segmenter
from labelseg.models.weights.states import load_overlapping
from labelseg.pipeline.engines.inputs import Inputs, Item, Model
from labelseg.training.fitting import demand_batch, fit
from labelseg.training.loop import TrainingSet
from labelseg.training.optimization import ParameterGroup
from labelseg.training.samples import source_mask
from labelseg.training.validation import demand_held, demand_labelled, masked_validation, segmenter_scores

if TYPE_CHECKING:
    from labelseg.methods.few_masks.few_mask_params import FewMaskParams


logger = logging.getLogger(__name__)

Watcher = Callable[[nn.Module], Mapping[str, float]]


@dataclass(frozen=True)
class FewMasks:
    """The images of a training.

    Attributes:
        labelled: With masks, to learn from.
        held: With masks, to choose the best epoch by; may be empty.
        unlabelled: Without, or those with masks where there are no others.
        watch: Whether pseudo labels are compared with true masks of unlabelled images, if they have any; those are not learned.
    """

    labelled: Sequence[Item]
    held: Sequence[Item]
    unlabelled: Sequence[Item]
    watch: bool

    @property
    def meta(self) -> dict[str, Any]:
        """What a model records of them: the ids of the labelled and the held images."""
        return {"labelled": [item.id for item in self.labelled], "held": [item.id for item in self.held]}


def gather(stage: str, inputs: Inputs, params: FewMaskParams, draw: Draw) -> FewMasks:
    """Collect the images of a training and check that it can work. Labelled images are not among the unlabelled ones.

    Raises:
        UsageError: wrong parameters, or a crop larger than every image.
        DataError: no labelled or no unlabelled image, no labelled pixel to evaluate on, or a class without one to learn from.
    """
    if params.validation and params.hold:
        raise UsageError(f"{stage}: give either --validation SPLIT or --hold SHARE, not both.")
    masked, unlabelled = inputs.items(), inputs.items("unlabelled")
    if not masked:
        raise DataError(f"{stage}: no labelled image in split '{params.split}'. Choose some: labelseg split --labelled N")
    if not unlabelled:
        raise DataError(f"{stage}: no unlabelled image. Name a split of them: --unlabelled SPLIT")
    labelled, held = held_part(masked, params.hold, params.seed)
    if params.validation:
        held = masked_validation(inputs)
    demand_held(stage, params, held, "--hold 0.2, or --validation SPLIT with masks", params.patience)
    learned = {item.id for item in labelled}
    unseen = [item for item in unlabelled if item.id not in learned]
    if not unseen:
        logger.warning(f"{stage}: every image of --unlabelled {params.unlabelled} is learned with its mask too; name one with others.")
    demand_labelled(stage, held, _mask_reader(params))
    check_classes(stage, labelled, inputs.classes, params.allow_missing)
    check_crop(stage, [*labelled, *unlabelled], params.crop, draw.largest)
    return FewMasks(labelled, held, unseen or unlabelled, watch=bool(unseen) or params.labels != "masks")


def take_over(net: Segmenter, inputs: Inputs, params: FewMaskParams) -> None:
    """Start a network from the head of an earlier one too, where that has one; its backbone has been taken before.

    Raises:
        DataError: the head does not fit.
    """
    if params.take != "network":
        return
    if params.init:
        load_overlapping(net, inputs.model("init").tensors, f"head of {params.init}")
    elif params.weights not in ("none", "imagenet"):
        tensors = {name: tensor for name, tensor in read_segmenter(params.weights).items() if not name.startswith("backbone.")}
        load_overlapping(net, tensors, f"head of {params.weights}")


def watcher(kept: nn.Module, data: FewMasks, inputs: Inputs, params: FewMaskParams) -> Watcher | None:
    """Make the function that scores the network to keep on the held images; None where there are none."""
    if not data.held:
        return None
    classes = len(inputs.classes)
    return lambda module: segmenter_scores(kept, data.held, classes, inputs.device, params.precision, params.window, _mask_reader(params))


def fit_few_masks(
    stage: str,
    inputs: Inputs,
    params: FewMaskParams,
    data: FewMasks,
    net: Segmenter,
    samples: TrainingSet,
    step: Callable[[nn.Module, Any], Mapping[str, Tensor]],
    *,
    groups: Sequence[ParameterGroup],
    ratios: Mapping[str, tuple[str, str]],
    teacher: Segmenter | None = None,
    smallest_pass: int = 1,
) -> Model:
    """Train a network on few masks, evaluated on the held images.

    Args:
        stage: Name of the stage, to begin errors with.
        inputs, params, net, samples: As of ``fit``.
        data: Labelled, unlabelled and held images.
        step: Maps the network and a batch to scalar tensors of shape (); the one named ``loss`` is minimised.
        groups, ratios, teacher: As of ``fit``.
        smallest_pass: Images of the smallest forward pass in training mode, for each sample.

    Raises:
        UsageError: the head needs larger batches.
    """
    demand_batch(stage, inputs, params, net, len(samples), smallest_pass)
    return fit(
        inputs,
        params,
        net,
        samples,
        step,
        evaluate=watcher(teacher or net, data, inputs, params),
        select="mIoU",
        evaluate_every=params.evaluate_every,
        keep=params.keep,
        iterations=params.iterations,
        patience=params.patience,
        groups=groups,
        teacher=teacher,
        ratios=ratios,
        meta=data.meta,
    )


def _mask_reader(params: FewMaskParams) -> Callable[[Item], NDArray[np.uint8]]:
    """What reads the mask of a held image: the true one in a validation split, else the one that would be learned."""
    return Item.mask if params.validation else source_mask
