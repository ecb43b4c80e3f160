"""Stage ``train-selector``: two heads on one backbone that learn the same pseudo labels and are driven apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labelseg.methods.active.adaptation_params import TARGET
from labelseg.methods.active.selector_params import Params
from labelseg.pipeline.declare.stage import Stage

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


def run(inputs: Inputs, params: Params) -> Model:
    """Train the pixel selector of a round: where its two heads disagree, a person is asked.

    Returns:
        The weights of the network and of its second head, by name with their shapes, the thresholds of the pseudo labels, and curves.

    Raises:
        UsageError: what is named is no segmenter of these classes.
        DataError: no image can be read.

    Source: Shin et al. 2021 (LabOR), L_pt; Mei et al. 2020 (IAST); labor.md.
    """
    from labelseg.methods.active.selector_training import train_twins

    return train_twins(inputs, params)


STAGE = Stage(
    name="train-selector",
    version=1,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {"split": ("image",)},
    numbered="round",
    first=1,
    chain="labor",
    home=TARGET,
)
