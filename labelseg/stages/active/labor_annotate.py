"""Stage ``labor-annotate``: the answers of people to all questions so far, as sparse masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labelseg.methods.active.adaptation_params import TARGET
from labelseg.methods.active.answering_params import Params
from labelseg.pipeline.declare.stage import Stage

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Collect the answers of people to the questions of a round and of those before; while questions are open a run waits.

    Returns:
        The function that computes an item: ``points`` int32 (n, 2), rows and columns in the image, of all rounds; ``point_labels`` uint8
        (n,), 255 where the person could not tell; ``rounds`` uint8 (n,); ``mask`` uint8 (H, W), the labels at their points, 255 elsewhere.

    Source: Shin et al. 2021 (LabOR); labor.md.
    """
    from labelseg.methods.active.answering import class_ids, collect

    def compute(item: Item) -> dict[str, Any]:
        questions = item.read("asked")
        before = item.read("previous") if params.previous else None
        said = class_ids(item, questions["points"], inputs.classes, inputs.instance)
        return collect(questions, before, said, params.round)

    return compute


STAGE = Stage(
    name="labor-annotate",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: (),
    has_masks=True,
    numbered="round",
    first=1,
    chain="labor",
    home=TARGET,
    answered="asked",
)
