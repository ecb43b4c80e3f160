"""Stage ``labor-select``: the pixels of each image of the target domain that a person is asked about in a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labelseg.methods.active.adaptation_params import TARGET
from labelseg.methods.active.choice_params import SELECTED, Params, is_counted
from labelseg.pipeline.declare.stage import Stage

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Choose the pixels of a round that a person is asked about; none is asked twice.

    Returns:
        The function that computes an item: ``points`` int32 (n, 2), rows and columns in the image; ``guesses`` int16 (n,) class ids, -1
        for none; ``asked`` uint8 (h, w) on the grid, the round in which each pixel was asked; ``image_size`` int32 (2,); and what the
        strategy knows besides.

    Raises:
        UsageError: what is named as selector or segmenter is none.

    Source: Shin et al. 2021 (LabOR), equation 4, SPL and PPL; labor.md.
    """
    import torch

    from labelseg.inference.predictor import Predictor
    from labelseg.methods.active.adaptation_training import demand_all_classes
    from labelseg.methods.active.choice import choose
    from labelseg.methods.active.selector_training import load_twins
    from labelseg.models.fast.inference_form import for_inference
    from labelseg.models.networks import SEGMENTERS, load_network

    predictor = None
    if params.strategy in SELECTED:
        model = inputs.model("selector")
        twins = for_inference(load_twins(model))
        predictor = Predictor(twins, inputs.device, params.precision, lambda images: torch.cat(twins(images)))
        demand_all_classes(inputs.instance, model, inputs.classes, params.selector)
    elif params.strategy != "random":
        model = inputs.model("model")
        demand_all_classes(inputs.instance, model, inputs.classes, params.model)
        predictor = Predictor(for_inference(load_network(model, SEGMENTERS)), inputs.device, params.precision)

    def compute(item: Item) -> dict[str, Any]:
        asked = item.read("previous")["asked"] if params.previous else None
        count = len(item.read("like")["points"]) if params.like and is_counted(params) else params.points
        return choose(item.id, item.image(), params, predictor, asked, count)

    return compute


STAGE = Stage(
    name="labor-select",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image",),
    numbered="round",
    first=1,
    chain="labor",
    home=TARGET,
    asks=True,
)
