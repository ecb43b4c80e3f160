"""Scores of networks on held images, between epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from labelseg.class_ids import IGNORE
from labelseg.data.augment.resized_crop import short_side_crop
from labelseg.data.label_maps import label_map
from labelseg.errors import DataError, UsageError
from labelseg.inference.predictor import Predictor, class_probabilities, tag_probabilities
from labelseg.ops.metrics import ConfusionMatrix, mean_average_precision
from labelseg.ops.windows import sum_over_windows
from labelseg.pipeline.engines.inputs import Inputs, Item
from labelseg.training.samples import readable, tag_targets

if TYPE_CHECKING:
    from labelseg.training.params import EvaluatedTrainingParams


def masked_validation(inputs: Inputs) -> list[Item]:
    """Gather the images with true masks of the validation split; none where no split is named."""
    return [item for item in inputs.items("validation") if item.has("mask")]


def demand_held(
    name: str,
    params: EvaluatedTrainingParams,
    held: Sequence[Item],
    remedy: str = "--validation SPLIT with masks",
    patience: int = 0,
) -> None:
    """Demand images to evaluate on where parameters need them: a named split, the best epoch kept, or a training ended early.

    Raises:
        UsageError: there are none.
    """
    if held:
        return
    if params.validation:
        raise UsageError(f"{name}: no image of --validation {params.validation} can be scored. Name {remedy}, or none: --validation ''")
    if params.keep == "best":
        raise UsageError(f"{name}: --keep best needs images to choose by. Add {remedy}")
    if patience:
        raise UsageError(f"{name}: --patience needs images to measure when a training stops improving. Add {remedy}")


def demand_labelled(name: str, held: Sequence[Item], read_mask: Callable[[Item], NDArray[np.uint8]]) -> None:
    """Demand a labelled pixel in the images to evaluate on, if there are any; images after the first one with a pixel are not read.

    Args:
        name: Instance, to begin the error with.
        held: The images.
        read_mask: Reads a mask, (H, W) uint8 class ids, 255 = ignore.

    Raises:
        DataError: there is none, or no image can be read.
    """

    def is_labelled(item: Item) -> bool:
        found = bool((read_mask(item) != IGNORE).any())
        if found:
            item.image()  # without its image a mask scores nothing
        return found

    if held and not any(readable(held, is_labelled, "the scores")):
        raise DataError(f"{name}: no labelled pixel in the {len(held):,} validation images, all void. Name others: --validation SPLIT")


def classifier_scores(
    net: nn.Module, items: Sequence[Item], n_classes: int, first_class: int, device: str, precision: str
) -> Mapping[str, float]:
    """Compute the mean average precision of a classifier on tagged images, at their own size and mirrored.

    Args:
        net: Maps images (B, 3, H, W) to logits (B, n_classes).
        items: Images with tags.
        n_classes: Number of classes that have tags.
        first_class: Class id of the first of them: 1 where there is a background.
        device, precision: As of ``Predictor``.

    Returns:
        ``mAP`` in [0, 1].
    """
    predictor = Predictor(net, device, precision)
    pairs = [
        (tag_probabilities(predictor, image), tag_targets(tags, n_classes, first_class))
        for image, tags in readable(items, lambda item: (item.image(), item.tags or ()), "the scores")
    ]
    scores, targets = (np.stack(rows) for rows in zip(*pairs, strict=True))
    return {"mAP": mean_average_precision(scores, targets)}


def segmenter_scores(
    net: nn.Module,
    items: Sequence[Item],
    n_classes: int,
    device: str,
    precision: str,
    window: int = 0,
    read_mask: Callable[[Item], NDArray[np.uint8]] = Item.mask,
) -> Mapping[str, float]:
    """Compute the mIoU of a segmenter on images with masks, at one scale without mirror.

    Args:
        net: Maps images (B, 3, H, W) to logits (B, n_classes, h, w).
        items: Images with masks.
        n_classes: Number of classes, background included.
        device, precision: As of ``Predictor``.
        window: Side of the windows whose probabilities are summed, pixels; 0 takes whole images.
        read_mask: Reads the mask of an item, (H, W) uint8 class ids, 255 = ignore; the true one by default.

    Returns:
        ``mIoU`` in [0, 1] over the classes that the masks hold.
    """
    # The logarithm of summed probabilities: the softmax that follows makes them sum to 1.
    forward = (lambda images: sum_over_windows(images, window, net).log()) if window else None
    predictor = Predictor(net, device, precision, forward)
    matrix = ConfusionMatrix(n_classes)
    for image, mask in readable(items, lambda item: (item.image(), read_mask(item)), "the scores"):
        matrix.update(mask, class_probabilities(predictor, image, (1.0,), False).argmax(axis=0))
    return {"mIoU": matrix.miou()}


def step_scores(
    net: nn.Module,
    items: Sequence[Item],
    classes: Sequence[str],
    class_ids: Sequence[int],
    n_old: int,
    device: str,
    precision: str,
    crop: int,
) -> Mapping[str, float]:
    """Compute the mIoU of a segmenter that knows some of the classes, at one scale without mirror; unknown ones count as background.

    Args:
        net: The segmenter.
        items: Images with true masks.
        classes: Class names by id.
        class_ids: Class id of each channel, background first.
        n_old: Number of old channels, background included.
        device: Where to compute.
        precision: Of the forward passes.
        crop: 0 scores whole images; else the middle square of images whose shorter side is resized to this, as published with 512.

    Returns:
        ``mIoU`` over all seen classes and background, ``mIoU old`` and ``mIoU new`` without background, ``IoU NAME`` of each class;
        what the truth does not hold is left out. With a crop each name begins with ``crop512``.
    """
    predictor = Predictor(net, device, precision)
    matrix = ConfusionMatrix(len(class_ids))
    channels = label_map(class_ids)
    for image, mask in readable(items, lambda item: (item.image(), item.mask()), "the scores"):
        if crop:
            image, mask = short_side_crop(image, mask, crop)
        matrix.update(channels[mask], class_probabilities(predictor, image, (1.0,), False).argmax(axis=0))
    iou = matrix.iou()
    groups = {"mIoU": iou, "mIoU old": iou[1:n_old], "mIoU new": iou[n_old:]}
    found = {name: float(np.mean(values[~np.isnan(values)])) for name, values in groups.items() if not np.isnan(values).all()}
    found |= {f"IoU {classes[class_id]}": float(value) for class_id, value in zip(class_ids, iou, strict=True) if not np.isnan(value)}
    return {f"crop{crop} {name}" if crop else name: value for name, value in found.items()}
