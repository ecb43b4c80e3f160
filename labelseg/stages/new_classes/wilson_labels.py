"""Stage ``wilson-labels``: the pseudo labels that a step of WILSON learned from, so that a person can look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``wilson-labels``."""

    step: int = option(1, help="Number of the step.", minimum=1)
    model: str = source("", help="Instance of the step; empty takes wilson@STEP.", kind="model")
    previous: str = source("", help="Instance of the step before; empty takes wilson@STEP-1.", kind="model")
    precision: str = option("32-true", help="Precision of the forward passes.", choices=("32-true", "bf16-mixed"))

    def __post_init__(self) -> None:
        """Fill in the instances of the chain."""
        object.__setattr__(self, "model", self.model or f"wilson@{self.step}")
        object.__setattr__(self, "previous", self.previous or f"wilson@{self.step - 1}")


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Write the target that a finished step would train its segmenter with, for each image, and the mask that follows from it.

    Returns:
        The function that computes an item: ``target`` float16 (C, h', w') in [0, 1]; ``mask`` uint8 (H, W), class ids; ``class_ids``,
        ``known_ids`` and ``new_ids`` int16 (C,), (K,), (N,); ``size`` int32 (2,), height and width of the image.

    Source: Cermelli et al. 2022; wilson.md.
    """
    import numpy as np

    from labelseg.data.label_maps import image_labels
    from labelseg.errors import DataError
    from labelseg.methods.new_classes.step_training import load_step
    from labelseg.methods.new_classes.targets import step_targets
    from labelseg.models.networks import step_arrays
    from labelseg.ops.cam import resize_maps

    model = inputs.model("model")
    net, settings = load_step(model, inputs.model("previous"))
    class_ids = model.meta["class_ids"]
    known = step_arrays(model.meta)
    first = 1 if settings.all_tags else model.meta["increment"]["n_old"]

    def compute(item: Item) -> dict[str, np.ndarray]:
        if item.tags is None:
            raise DataError(f"wilson-labels of {item.id}: its tags are unknown. Add it to the labels of the data.")
        image = item.image()
        target = step_targets(net, image, image_labels(item.tags, class_ids, first), settings, inputs.device, params.precision)
        mask = resize_maps(target, image.shape[:2]).argmax(axis=0)
        return {
            "mask": np.asarray(class_ids, np.uint8)[mask],
            "target": target.astype(np.float16),
            "class_ids": np.asarray(class_ids, np.int16),
            "size": np.array(image.shape[:2], np.int32),
            **known,
        }

    return compute


STAGE = Stage(
    name="wilson-labels",
    version=2,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image", "tags"),
    has_masks=True,
)
