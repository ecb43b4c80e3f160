"""Time two ways of the same job in turn, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any


def seconds(job: Callable[[], Any]) -> float:
    """Time one call."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def against(
    name: str, ours: Callable[[], Any], opponent: str, theirs: Callable[[], Any], *, rounds: int = 3, **notes: Any
) -> dict[str, Any]:
    """Time both in turn, after one call each to warm up, and report medians and their ratio."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    own, other = (median(times) for times in zip(*pairs, strict=True))
    return {"name": name, "ours_s": own, "opponent": opponent, "opponent_s": other, "ratio": other / own, **notes}


def alone(name: str, ours: Callable[[], Any], *, rounds: int = 3, **notes: Any) -> dict[str, Any]:
    """Time a job that has no opponent here."""
    ours()
    return {"name": name, "ours_s": median(seconds(ours) for _ in range(rounds)), **notes}
