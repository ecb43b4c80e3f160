"""Stage ``train-uda``: a segmenter for a new domain, from masks of another one and the answers so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labelseg.methods.active.adaptation_params import TARGET, Params
from labelseg.pipeline.declare.stage import Stage

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


def run(inputs: Inputs, params: Params) -> Model:
    """Train a segmenter on masks of a source domain, images of a target domain, and the pixels of these that a person has answered.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Raises:
        UsageError: nothing is left to learn from, or the parameters contradict each other.
        DataError: no image of the source has a mask.

    Source: Shin et al. 2021 (LabOR), L_st; Tsai et al. 2018; labor.md.
    """
    from labelseg.methods.active.adaptation_training import train_adapted

    return train_adapted(inputs, params)


STAGE = Stage(
    name="train-uda",
    version=1,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {"split": ("image",), "source": ("image", "mask"), "validation": ("image", "mask")},
    numbered="round",
    chain="labor",
    home=TARGET,
)
