"""Looking for the settings that score highest: coarse, then fine, and the middle of a plateau at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np

from labelseg.ops.plateau import plateau_middle

Settings = Mapping[str, float]
Measure = Callable[[Sequence[Settings]], list[float]]


def arithmetic_middle(a: float, b: float) -> float:
    """The middle of two numbers, to four digits."""
    return round_digits((a + b) / 2)


def geometric_middle(a: float, b: float) -> float:
    """The middle of two positive numbers by their ratio, to four digits."""
    return round_digits(float(np.sqrt(a * b)))


def round_digits(value: float, digits: int = 4) -> float:
    """Round to so many significant digits, so that a file shows a number a person would write."""
    return float(f"{value:.{digits}g}")


@dataclass(frozen=True)
class Axis:
    """A parameter that is looked for.

    Attributes:
        name: The parameter.
        values: What is tried first, ascending or descending; at least one.
        middle: Gives the value between two.
    """

    name: str
    values: tuple[float, ...]
    middle: Callable[[float, float], float] = arithmetic_middle


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        settings: The settings that were chosen; those that stood where nothing scored higher.
        score: Their score.
        before: Score of the settings that stood.
        tried: How many settings were scored.
        edges: Parameters whose chosen value is the first or last that was tried.
    """

    settings: dict[str, float]
    score: float
    before: float
    tried: int
    edges: tuple[str, ...] = ()


@dataclass
class _Scores:
    """Scores of the settings tried so far, each measured once."""

    measure: Measure
    known: dict[tuple[tuple[str, float], ...], float] = field(default_factory=dict)

    def of(self, points: Sequence[Settings]) -> list[float]:
        """Score settings, those together that are new."""
        keys = [tuple(sorted(point.items())) for point in points]
        new = list(dict.fromkeys(key for key in keys if key not in self.known))
        if new:
            self.known.update(zip(new, self.measure([dict(key) for key in new]), strict=True))
        return [self.known[key] for key in keys]

    def best_of(self, axes: Sequence[tuple[str, Sequence[float]]], base: Settings) -> dict[str, float]:
        """Choose on a grid: the values of some axes, everything else as in ``base``."""
        names, columns = [name for name, _ in axes], [values for _, values in axes]
        points = [{**base, **dict(zip(names, values, strict=True))} for values in product(*columns)]
        grid = np.array(self.of(points)).reshape([len(values) for values in columns])
        if np.isnan(grid).all():
            return dict(base)
        place = plateau_middle(grid)
        return {**base, **{name: values[k] for (name, values), k in zip(axes, place, strict=True)}}


def coarse_to_fine(axes: Sequence[Axis], standing: Settings, measure: Measure) -> Found:
    """Search for settings whose neighbours score high as well.

    1. The first axis by itself, the others as they stand.
    2. The first axis around what was found, with all values of the others: one grid.
    3. Each axis by itself, with the values half-way to its neighbours.

    At every step the middle of a plateau is taken (``labelseg.ops.plateau.plateau_middle``). What was found is kept only where it
    scores higher than the settings that stand.

    Args:
        axes: What to look for; the one that matters most first.
        standing: Value of every axis that holds now.
        measure: Scores settings, as many as possible in one call; NaN where there is nothing to score.

    Returns:
        The settings, with their score and the one before.
    """
    scores = _Scores(measure)
    before = scores.of([dict(standing)])[0]
    chosen = dict(standing)
    if axes:
        first = axes[0]
        chosen = scores.best_of([(first.name, first.values)], chosen)
        if len(axes) > 1:
            near = _around(first.values, chosen[first.name])
            chosen = scores.best_of([(first.name, near), *((axis.name, axis.values) for axis in axes[1:])], chosen)
        for axis in axes:
            chosen = scores.best_of([(axis.name, _between(axis, chosen[axis.name]))], chosen)
    score = scores.of([chosen])[0]
    if not score > before:
        return Found(dict(standing), before, before, len(scores.known))
    ends = tuple(axis.name for axis in axes if len(axis.values) > 1 and chosen[axis.name] in (axis.values[0], axis.values[-1]))
    return Found(chosen, score, before, len(scores.known), ends)


def _around(values: Sequence[float], value: float) -> list[float]:
    """List a value and its neighbours in a list; a value that is not in it stands alone."""
    if value not in values:
        return [value]
    place = list(values).index(value)
    return list(values[max(place - 1, 0) : place + 2])


def _between(axis: Axis, value: float) -> list[float]:
    """List a value, its neighbours on the axis, and what lies half-way to them, in order."""
    near = _around(axis.values, value)
    halves = [axis.middle(a, b) for a, b in pairwise(near)]
    return [near[0], *(number for pair in zip(halves, near[1:], strict=True) for number in pair)]
