"""The parameters of the collection of answers."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.pipeline.declare.stage import option, source


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``labor-annotate``."""

    round: int = option(1, help="Number of the round, from 1.", minimum=1, maximum=254)
    asked: str = source(
        "", help="Choice that asked; empty takes labor-select@ROUND. Answers to ask belong to correct.", kind="questions",
        link=("labor-select", 0),
    )  # fmt: skip
    previous: str = source(
        "", help="Answers of the round before; empty takes labor-annotate@ROUND-1, and none in round 1.", kind="map",
        link=("labor-annotate", 1),
    )  # fmt: skip
    partial: bool = option(
        False, help="Go on with the answers there are; else a run waits for all.", shared=True, effective=lambda params: False
    )

    def __post_init__(self) -> None:
        """Fill in what follows from the number of the round."""
        if not self.asked:
            object.__setattr__(self, "asked", f"labor-select@{self.round}")
        if self.round > 1 and not self.previous:
            object.__setattr__(self, "previous", f"labor-annotate@{self.round - 1}")
