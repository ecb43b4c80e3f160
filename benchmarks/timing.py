"""Time two ways of the same job in turn, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

Clock = Callable[[], float]


def seconds(job: Callable[[], Any], clock: Clock = time.perf_counter) -> float:
    """Time one call."""
    started = clock()
    job()
    return clock() - started


def against(
    name: str,
    ours: Callable[[], Any],
    opponent: str,
    theirs: Callable[[], Any],
    *,
    rounds: int = 3,
    clock: Clock = time.perf_counter,
    **notes: Any,
) -> dict[str, Any]:
    """Time both in turn, after one call each to warm up, and report medians and their ratio."""
    ours(), theirs()
    pairs = [(seconds(ours, clock), seconds(theirs, clock)) for _ in range(rounds)]
    own, other = (median(times) for times in zip(*pairs, strict=True))
    return {"name": name, "ours_s": own, "opponent": opponent, "opponent_s": other, "ratio": other / own, **notes}


def alone(name: str, ours: Callable[[], Any], *, rounds: int = 3, clock: Clock = time.perf_counter, **notes: Any) -> dict[str, Any]:
    """Time a job that has no opponent here."""
    ours()
    return {"name": name, "ours_s": median(seconds(ours, clock) for _ in range(rounds)), **notes}
