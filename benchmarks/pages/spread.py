"""How far measurements lie apart."""

from __future__ import annotations

import statistics


def spread(values: list[float], digits: int) -> dict[str, float]:
    """Minimum, median and maximum; whole numbers where no digits are asked for."""
    told = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, digits) if digits else round(value) for name, value in told.items()}
