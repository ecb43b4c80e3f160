"""The parameters of the choice of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.pipeline.declare.stage import option, source

SELECTED, COUNTED = ("ppl", "spl"), ("random", "entropy", "margin", "ripu", "pixelpick")


def is_counted(params: Params) -> bool:
    """Whether the strategy takes a number of points."""
    return params.strategy in COUNTED


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``labor-select``."""

    round: int = option(1, help="Number of the round, from 1 to 254.", minimum=1, maximum=254)
    strategy: str = option(
        "ppl",
        help="What is asked: a point for each class where both heads disagree (ppl), all of that (spl), or a number of points: by chance, "
        "by entropy or margin, by impure and uncertain regions (ripu), by chance among the smallest margins (pixelpick).",
        choices=(*SELECTED, *COUNTED),
        shared=True,
    )
    selector: str = source(
        "", help="Pixel selector, for ppl and spl; empty takes train-selector@ROUND.", kind="model",
        effective=lambda params: params.strategy in SELECTED,
    )  # fmt: skip
    model: str = source(
        "", help="Segmenter, for the other strategies but random; empty takes train-uda@ROUND-1.", kind="model",
        effective=lambda params: is_counted(params) and params.strategy != "random",
    )  # fmt: skip
    previous: str = source(
        "", help="Choice of the round before; empty takes labor-select@ROUND-1, and none in round 1.", kind="map", link=("labor-select", 1)
    )
    like: str = source(
        "", help="Choice whose number of points in each image is taken; empty takes --points.", kind="map", effective=is_counted
    )
    points: int = option(
        13, help="Points an image and round, for strategies that take a number.", minimum=0, shared=True,
        effective=lambda params: is_counted(params) and not params.like,
    )  # fmt: skip
    cap: int = option(
        40, help="Points an image over all rounds at most; 0 has no limit. Not for spl.", minimum=0, shared=True,
        effective=lambda params: params.strategy != "spl",
    )  # fmt: skip
    spl_max_fraction: float = option(
        0.0, help="Share of an image's pixels that spl asks in a round at most, where heads differ most; 0 has no limit.",
        minimum=0.0, maximum=1.0, shared=True, effective=lambda params: params.strategy == "spl",
    )  # fmt: skip
    similarity: str = option(
        "cosine", help="Likeness to the mean of a class, for ppl.", choices=("cosine", "l2"), shared=True,
        effective=lambda params: params.strategy == "ppl",
    )  # fmt: skip
    region: int = option(
        32, help="Half the side of regions, and of the squares around points in which no other is asked, for ripu.", minimum=0, shared=True,
        effective=lambda params: params.strategy == "ripu",
    )  # fmt: skip
    top: float = option(
        0.05, help="Share of the pixels that pixelpick draws from.", minimum=0.0, maximum=1.0, shared=True,
        effective=lambda params: params.strategy == "pixelpick",
    )  # fmt: skip
    grid: int = option(
        0, help="Longer side of the grid that points lie on, pixels; 0 is that of the image. One for all rounds.", minimum=0, shared=True
    )
    seed: int = option(
        0, help="Seed of what is left to chance.", minimum=0, shared=True,
        effective=lambda params: params.strategy in ("random", "pixelpick"),
    )  # fmt: skip
    precision: str = option(
        "32-true", help="Precision of the forward passes.", choices=("32-true", "bf16-mixed"), shared=True,
        effective=lambda params: params.strategy != "random",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Fill in what follows from the number of the round."""
        if self.strategy in SELECTED and not self.selector:
            object.__setattr__(self, "selector", f"train-selector@{self.round}")
        if self.strategy in COUNTED[1:] and not self.model:
            object.__setattr__(self, "model", f"train-uda@{self.round - 1}")
        if self.round > 1 and not self.previous:
            object.__setattr__(self, "previous", f"labor-select@{self.round - 1}")
