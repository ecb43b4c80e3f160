"""Stage ``features``: features of the places of an image, from a backbone that was never trained to give affinities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, like, option, source
from labelseg.training.params import TrainingParams

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def _has_own_backbone(params: Params) -> bool:
    return not params.model


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``features``."""

    model: str = source("", help="Instance whose backbone is taken; empty takes --backbone with --weights.", kind="model")
    backbone: str = like(TrainingParams, "backbone", effective=_has_own_backbone)
    weights: str = like(TrainingParams, "weights", effective=_has_own_backbone)
    output_stride: int = like(TrainingParams, "output_stride", effective=_has_own_backbone)
    levels: tuple[int, ...] = option(
        (3, 4),
        help="Levels of the backbone whose features are joined, each of unit length: 1, the finest, to 4, the last.",
        minimum=1,
        maximum=4,
    )
    stride: int = option(8, help="Pixels between features; the image is enlarged where the levels are coarser.", minimum=1)
    centre: bool = option(False, help="Take the mean of the image off its features, so that what all places share does not count.")
    precision: str = option("32-true", help="Precision of the forward pass.", choices=("32-true", "bf16-mixed"))


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Compute features of the places of an image, whose likeness can stand for affinities: `propagate --affinity-kind features`.

    Returns:
        The function that computes an item: ``features`` float16 (h, w, D), a feature for every block of ``stride`` pixels that the image
        begins; ``stride`` int32 (), pixels between them.

    Source: ours; the features are those of the backbone.
    """
    import numpy as np
    import torch

    from labelseg.inference.predictor import Predictor, resize_image
    from labelseg.models.encoders.registry import build_backbone
    from labelseg.models.fast.inference_form import for_inference
    from labelseg.models.heads.joint_features import BackboneFeatures
    from labelseg.models.networks import NETWORKS, load_network
    from labelseg.training.fitting import load_initial_weights

    if params.model:
        backbone = load_network(inputs.model("model"), "|".join(NETWORKS)).backbone
    else:
        torch.manual_seed(0)  # without weights the same in every process
        backbone = build_backbone(params.backbone, params.output_stride)
        load_initial_weights(inputs, backbone, params.weights)
    net = for_inference(BackboneFeatures(backbone, params.levels).eval())
    predictor = Predictor(net, inputs.device, params.precision)

    def compute(item: Item) -> dict[str, np.ndarray]:
        image = item.image()
        beyond = [(0, -side % params.stride) for side in image.shape[:2]]
        whole = np.pad(image, (*beyond, (0, 0)), mode="edge")
        features = predictor.views(resize_image(whole, net.stride / params.stride))[0].transpose(1, 2, 0)
        if params.centre:
            features = features - features.mean(axis=(0, 1))
        return {"features": features.astype(np.float16), "stride": np.array(params.stride, np.int32)}

    return compute


STAGE = Stage(
    name="features",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image",),
    has_features=True,
    has_network=True,
)
