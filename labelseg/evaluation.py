"""Scores of networks on held images, between epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from labelseg.inference import Predictor, class_probabilities, tag_probabilities
from labelseg.ops.metrics import ConfusionMatrix, mean_average_precision
from labelseg.pipeline.inputs import Item
from labelseg.samples import tag_targets


def classifier_scores(
    net: nn.Module, items: Sequence[Item], n_classes: int, first_class: int, device: str, precision: str
) -> Mapping[str, float]:
    """Compute the mean average precision of a classifier on tagged images, at their own size and mirrored."""
    predictor = Predictor(net, device, precision)
    scores = np.stack([tag_probabilities(predictor, item.image()) for item in items])
    targets = np.stack([tag_targets(item.tags or (), n_classes, first_class) for item in items])
    return {"mAP": mean_average_precision(scores, targets)}


def segmenter_scores(net: nn.Module, items: Sequence[Item], n_classes: int, device: str, precision: str) -> Mapping[str, float]:
    """Compute the mIoU of a segmenter on images with true masks, at one scale without mirror."""
    predictor = Predictor(net, device, precision)
    matrix = ConfusionMatrix(n_classes)
    for item in items:
        matrix.update(item.mask(), class_probabilities(predictor, item.image(), (1.0,), False).argmax(axis=0))
    return {"mIoU": matrix.miou()}
