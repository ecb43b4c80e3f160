"""Stage ``correct``: masks of a stage, corrected by what people answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``correct``."""

    asked: str = source("ask", help="Instance that asked.", kind="questions")
    of: str = source("propagate", help="Instance whose masks are corrected; empty keeps nothing but the answers.", kind="labels")
    reach: float = option(
        30.0,
        help="How far an answer spreads in what the mask takes for one thing, in pixels; 0 corrects single ones.",
        minimum=0.0,
    )
    colour: float = option(
        30.0, help="Cost of a step from black to white, in steps of a pixel.", minimum=0.0, effective=lambda params: params.reach > 0
    )
    partial: bool = option(False, help="Go on with the answers there are; else a run waits for all.", effective=lambda params: False)


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Correct masks by the answers of people: an answer spreads to what is near, alike, and one thing to the mask.

    Returns:
        The function that computes an item: ``mask`` uint8 (H, W), class ids; ``points`` int32 (n, 2), rows and columns of pixels that were
        answered, and ``point_labels`` uint8 (n,), their classes, with those of the masks that were corrected.

    Raises:
        UsageError: what is read as the one that asks does not.

    Source: ours.
    """
    import logging

    import numpy as np

    from labelseg.class_ids import IGNORE
    from labelseg.errors import DataError
    from labelseg.ops.active.corrections import correct_mask
    from labelseg.suggestions import suggestion

    ids = {name: class_id for class_id, name in enumerate(inputs.classes)}

    def compute(item: Item) -> dict[str, np.ndarray]:
        said = {(y, x): name for y, x, name in item.answers if name is not None}
        if wrong := next((name for name in said.values() if name not in ids), None):
            raise DataError(f"{inputs.instance} for {item.id}: expected answers that are classes, got '{wrong}'.{suggestion(wrong, ids)}")
        image = item.image()
        own: dict[str, Any] = item.read("of") if params.of else {"mask": np.full(image.shape[:2], IGNORE, np.uint8)}
        mask = own["mask"]
        known: dict[tuple[int, int], int] = {}
        if "point_labels" in own:
            known = dict(zip(((y, x) for y, x in own["points"].tolist()), own["point_labels"].tolist(), strict=True))
        known |= {place: ids[name] for place, name in said.items()}
        outside = [place for place in known if not (place[0] < mask.shape[0] and place[1] < mask.shape[1])]
        for place in outside:  # one odd line is no reason to lose the other answers
            del known[place]
            logging.getLogger(__name__).warning(
                "%s for %s: an answer at row %d, column %d lies outside of it and counts for nothing. See which line: labelseg answers",
                inputs.instance, item.id, *place,
            )  # fmt: skip
        points = np.array(list(known), np.int64).reshape(-1, 2)
        labels = np.array(list(known.values()), np.uint8)
        return {
            "mask": correct_mask(mask, image, points, labels, params.reach, params.colour),
            "points": points.astype(np.int32),
            "point_labels": labels,
        }

    return compute


STAGE = Stage(
    name="correct",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image",),
    has_masks=True,
    answered="asked",
)
