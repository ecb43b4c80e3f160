"""Stage ``ask``: which pixels of the masks of a stage a person should look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def _looks(params: Params) -> bool:
    return params.choose == "widest"


def _by_confidence(params: Params) -> bool:
    return _looks(params) and not params.beside


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``ask``."""

    of: str = source("propagate", help="Instance whose masks are asked about, or masks for the ground truth.", kind="labels")
    beside: str = source(
        "",
        help="Instance with other masks of the same images: asked is where the two disagree. Empty takes refine where propagate is asked "
        "about, and of others the pixels of least confidence.",
        kind="labels",
        effective=_looks,
    )
    budget: int = option(10, help="Most pixels that are asked in an image.", minimum=1)
    choose: str = option(
        "widest",
        help="What is asked: the middles of the widest places that are in doubt, or pixels by chance.",
        choices=("widest", "random"),
    )
    share: float = option(
        0.2,
        help="Share of the pixels of least confidence, which count as doubtful.",
        minimum=0.0,
        maximum=1.0,
        effective=_by_confidence,
    )
    seed: int = option(0, help="Seed of chance.", minimum=0, effective=lambda params: not _looks(params))

    def __post_init__(self) -> None:
        """Fill in the stage before propagate."""
        if not self.beside and self.of.partition("@")[0] == "propagate":
            object.__setattr__(self, "beside", "refine")


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Choose the pixels of each image whose class a person should name, where masks are in doubt; then comes `labelseg annotate`.

    Returns:
        The function that computes an item: ``points`` int32 (n, 2), rows and columns in the image, the most useful first; ``guesses``
        int16 (n,), their class in the masks asked about, -1 where that is 255.

    Source: ours.
    """
    import numpy as np

    from labelseg.class_ids import IGNORE
    from labelseg.errors import DataError
    from labelseg.ops.active.corrections import NO_GROUP, disagreement, doubtful, widest_points
    from labelseg.ops.active.strategies import chance_points, seeded

    def groups(item: Item, own: dict[str, np.ndarray]) -> np.ndarray:
        if params.beside:
            other = item.read("beside")["mask"]
            if other.shape != own["mask"].shape:
                raise DataError(f"{inputs.instance} for {item.id}: masks of {params.of} and {params.beside} differ in size.")
            return disagreement(own["mask"], other)
        if "confidence" not in own:
            raise DataError(f"{params.of} writes no confidence. Name a second opinion, such as: labelseg ask --beside refine")
        return doubtful(own["mask"], own["confidence"], params.share)

    def compute(item: Item) -> dict[str, np.ndarray]:
        own = item.read("of")
        mask, asked = own["mask"], own["points"] if "point_labels" in own else np.zeros((0, 2), np.int64)
        free = np.ones(mask.shape, bool)
        free[asked[:, 0], asked[:, 1]] = False  # nobody is asked twice
        if params.choose == "random":
            points = chance_points(free, params.budget, seeded(params.seed, item.id, 0))
        else:
            points = widest_points(np.where(free, groups(item, own), NO_GROUP), params.budget)
        guesses = mask[points[:, 0], points[:, 1]].astype(np.int16)
        return {"points": points.astype(np.int32), "guesses": np.where(guesses == IGNORE, -1, guesses).astype(np.int16)}

    return compute


STAGE = Stage(name="ask", version=1, kind="map", params=Params, run=run, uses=lambda params: (), asks=True)
