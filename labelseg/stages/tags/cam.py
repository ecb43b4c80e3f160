"""Stage ``cam``: class activation maps of the classes present, over scales and mirrors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def _predicts_tags(params: Params) -> bool:
    return params.tags != "given"


def _has_prototypes(params: Params) -> bool:
    return params.kind != "plain"


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``cam``."""

    model: str = source("train-classifier", help="Instance that provides the classifier.", kind="model")
    scales: tuple[float, ...] = option((0.5, 1.0, 1.5, 2.0), help="Scales of the image whose maps are summed.", minimum=0.01)
    flip: bool = option(True, help="Add the maps of the mirrored image.")
    tags: str = option(
        "given",
        help="Classes to map: those tagged, those the classifier predicts, or predicted ones for untagged images alone.",
        choices=("given", "predicted", "given-or-predicted"),
    )
    tag_threshold: float = option(
        0.5, help="Probability from which a class counts as predicted.", minimum=0.0, maximum=1.0, effective=_predicts_tags
    )
    kind: str = option(
        "plain",
        help="Maps: activations of the classifier, likeness of its features to where those are strongest, or the mean of both.",
        choices=("plain", "prototype", "mean"),
        neutral=True,
    )
    prototype_scale: float = option(1.5, help="Scale of the image whose features are compared.", minimum=0.01, effective=_has_prototypes)
    prototype_top: float = option(
        0.2,
        help="Share of places by which a class is known: where its map is strongest.",
        minimum=0.0,
        maximum=1.0,
        effective=_has_prototypes,
    )
    prototype_bottom: float = option(
        0.3, help="Share of places by which the background is known.", minimum=0.0, maximum=1.0, effective=_has_prototypes
    )
    prototype_temperature: float = option(
        0.1, help="Of the softmax over likenesses; a low value makes maps sharper.", minimum=0.001, effective=_has_prototypes
    )
    store: str = option(
        "stride4", help="Grid of the stored maps: a quarter of the image's sides, or full size.", choices=("stride4", "full")
    )
    precision: str = option("32-true", help="Precision of the forward passes.", choices=("32-true", "bf16-mixed"))


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Compute class activation maps: where the classifier sees each class that an image holds.

    Returns:
        The function that computes an item: ``scores`` float16 (C, h, w) in [0, 1], the maximum of each map next to 1, at the size of the
        image or a quarter of it; ``class_ids`` int16 (C,), sorted; ``size`` int32 (2,), height and width of the image.

    Source: Ahn & Kwak 2018; affinitynet.md.
    """
    import numpy as np

    from labelseg.errors import DataError
    from labelseg.inference.predictor import Predictor, tag_probabilities
    from labelseg.models.fast.inference_form import for_inference
    from labelseg.models.networks import load_network
    from labelseg.ops.cam import merge_cams, normalize_cam, resize_maps
    from labelseg.ops.prototypes import prototype_maps
    from labelseg.pipeline.instances import run_command

    first_class = 1 if inputs.has_background else 0
    net = for_inference(load_network(inputs.model("model"), "classifier"))
    predictor = Predictor(net, inputs.device, params.precision, forward=net.cam)
    tagger = Predictor(net, inputs.device, params.precision)
    looker = Predictor(net, inputs.device, params.precision, forward=net.features)

    def present(item: Item) -> np.ndarray:
        """The ids of the classes to map."""
        if params.tags != "predicted" and item.tags is not None:
            return np.array(item.tags, dtype=np.int16)
        if params.tags == "given":
            raise DataError(
                f"{inputs.instance} for {item.id}: expected tags, but the image is not in the label list. "
                f"Add a line for it, or let the classifier tag such images: {run_command(inputs.instance)} --tags given-or-predicted"
            )
        return np.flatnonzero(tag_probabilities(tagger, item.image()) >= params.tag_threshold).astype(np.int16) + np.int16(first_class)

    def likeness(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Prototype maps at the size of other maps (C, h, w), each over its maximum."""
        features = looker.views(image, params.prototype_scale, params.flip).mean(axis=0)
        maps = prototype_maps(
            features,
            resize_maps(scores, features.shape[1:]),
            top=params.prototype_top,
            bottom=params.prototype_bottom,
            temperature=params.prototype_temperature,
        )
        return normalize_cam(resize_maps(maps, scores.shape[1:]))

    def compute(item: Item) -> dict[str, np.ndarray]:
        image, class_ids = item.image(), present(item)
        height, width = image.shape[:2]
        size = (height, width) if params.store == "full" else (-(-height // 4), -(-width // 4))
        views = [view[class_ids - first_class] for scaled in predictor.multi_scale(image, params.scales, params.flip) for view in scaled]
        scores = normalize_cam(merge_cams(views, size))
        if params.kind != "plain":
            alike = likeness(image, scores)
            scores = alike if params.kind == "prototype" else (scores + alike) / 2
        return {
            "scores": scores.astype(np.float16),
            "class_ids": class_ids,
            "size": np.array([height, width], dtype=np.int32),
        }

    return compute


STAGE = Stage(
    name="cam",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image",) if params.tags == "predicted" else ("image", "tags"),
    has_scores=True,
)
