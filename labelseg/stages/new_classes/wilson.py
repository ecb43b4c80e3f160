"""Stage ``wilson``: a segmenter that learns new classes from tags, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labelseg.methods.new_classes.step_params import Params
from labelseg.pipeline.declare.stage import Stage

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


def run(inputs: Inputs, params: Params) -> Model:
    """Learn the classes of one step: those of step 0 from masks, those of later steps from tags, old ones from the step before.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Raises:
        UsageError: classes, scenario or number of the step do not follow from the step before.

    Source: Cermelli et al. 2022; wilson.md.
    """
    from labelseg.errors import UsageError
    from labelseg.methods.new_classes.step_training import adopt, train_dense, train_weak

    if params.adopt and params.step:
        raise UsageError(f"{inputs.instance}: a segmenter is taken over as step 0, not {params.step}. Name it as --previous instead.")
    if params.previous and not params.step:
        raise UsageError(f"{inputs.instance}: step 0 follows no other. Give its number: --step 1")
    if params.adopt:
        return adopt(inputs, params)
    return train_dense(inputs, params) if params.labels else train_weak(inputs, params)


STAGE = Stage(
    name="wilson",
    version=1,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {
        "split": ("image", "tags"),
        "validation": ("image", "mask"),
        "negatives": ("image", "tags"),
        "replay": ("image", "tags", "mask"),
    },
    numbered="step",
)
