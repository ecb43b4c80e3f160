"""Options of the guard against floods, for every stage that has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labelseg.pipeline.declare.stage import option, source


def is_guarded(params: Any) -> bool:
    """Whether classes that flooded an image are looked for."""
    return bool(params.guard_masks) and getattr(params, "guard", "") != "off"


@dataclass(frozen=True, kw_only=True)
class GuardParams:
    """When a class counts as one that flooded an image."""

    guard_masks: str = source("", help="Instance whose masks tell how much of an image a class may cover.", kind="labels")
    guard_factor: float = option(
        2.0,
        help="A class floods where it covers more than this times its trusted share of the image ...",
        minimum=0.0,
        effective=is_guarded,
    )
    guard_margin: float = option(0.1, help="... and this share of the image more.", minimum=0.0, maximum=1.0, effective=is_guarded)
