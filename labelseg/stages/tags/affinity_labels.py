"""Stage ``affinity-labels``: the cells of the stride-8 grid whose class can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.methods.guard_params import GuardParams
from labelseg.pipeline.declare.stage import Stage, like, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``affinity-labels``."""

    refine: str = source("refine", help="Instance that provides the refined scores.", kind="map")
    rule: str = option(
        "psa",
        help="Who wins where confident foreground meets confident background: psa background, irn foreground.",
        choices=("psa", "irn"),
    )
    guard_masks: str = like(
        GuardParams,
        "guard_masks",
        help="Instance whose masks tell how much of an image a class may cover; classes that flooded stay neutral.",
    )
    guard_factor: float = like(GuardParams, "guard_factor")
    guard_margin: float = like(GuardParams, "guard_margin")


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Keep the cells where both refined readings agree, and leave the others neutral.

    Returns:
        The function that computes an item: ``labels`` uint8 (h8, w8), class ids, 255 where the readings differ or say nothing.

    Source: Ahn & Kwak 2018; affinitynet.md.
    """
    import numpy as np

    from labelseg.class_ids import IGNORE
    from labelseg.ops.affinity.floods import flooded_classes
    from labelseg.ops.affinity.psa import affinity_labels

    def compute(item: Item) -> dict[str, Any]:
        refined = item.read("refine")
        positions = affinity_labels(refined["low"], refined["high"], rule=params.rule)
        known = positions != IGNORE
        labels = positions.copy()
        labels[known] = refined["class_ids"][positions[known]]
        if params.guard_masks:
            trusted = [item.read("guard_masks")["mask"]]
            flooded = flooded_classes(refined["mask"], trusted, refined["class_ids"][1:], params.guard_factor, params.guard_margin)
            labels[np.isin(labels, flooded)] = IGNORE
        return {"labels": labels}

    return compute


STAGE = Stage(name="affinity-labels", version=1, kind="map", params=Params, run=run, uses=lambda params: ())
