"""Two stages that compute next to nothing, so that what is left is the runner: ``python -m benchmarks.scale.toy_stages -C DIR status``."""

from __future__ import annotations

from dataclasses import dataclass

from labelseg.pipeline.declare.stage import Stage, option, source


@dataclass(frozen=True, kw_only=True)
class LookParams:
    """Parameters of ``look``."""

    level: int = option(100, help="Grey level from which a pixel counts as bright.", minimum=0)


def look(inputs, params):  # type: ignore[no-untyped-def]
    """Tell bright pixels from dark ones."""

    def compute(item):  # type: ignore[no-untyped-def]
        return {"mask": (item.image()[..., 0] >= params.level).astype("uint8")}

    return compute


@dataclass(frozen=True, kw_only=True)
class TurnParams:
    """Parameters of ``turn``."""

    look: str = source("look", help="Instance that provides masks.", kind="map")


def turn(inputs, params):  # type: ignore[no-untyped-def]
    """Turn masks around."""
    return lambda item: {"mask": 1 - item.read("look")["mask"]}


STAGES = (
    Stage("look", 1, "map", LookParams, look, lambda params: ("image",), has_masks=True),
    Stage("turn", 1, "map", TurnParams, turn, lambda params: (), has_masks=True),
)

if __name__ == "__main__":
    from labelseg.cli import make_program

    make_program(STAGES)(prog_name="labelseg")
