from __future__ import annotations

import math
from collections import Counter

import pytest

from labelseg.tuning.search import Axis, coarse_to_fine, geometric_middle
from labelseg.tuning.tuner import alpha_of, middle_alpha, threshold_of

AXES = (Axis("a", (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)), Axis("b", (1.0, 2.0, 4.0, 8.0), geometric_middle))


def measured(score):
    """A measure of a drawn surface, and a count of how often each setting was asked for."""
    asked = Counter()

    def measure(points):
        asked.update(tuple(sorted(point.items())) for point in points)
        return [score(**point) for point in points]

    return measure, asked


def test_a_hill_is_found_between_the_values_tried_first():
    measure, asked = measured(lambda a, b: 1 - (a - 3.5) ** 2 / 20 - (math.log2(b) - 1.5) ** 2 / 20)
    found = coarse_to_fine(AXES, {"a": 0.0, "b": 1.0}, measure)
    assert abs(found.settings["a"] - 3.5) <= 0.5
    assert abs(math.log2(found.settings["b"]) - 1.5) <= 0.5
    assert found.score == pytest.approx(measure([found.settings])[0])
    assert found.before == pytest.approx(measure([{"a": 0.0, "b": 1.0}])[0])
    del asked[tuple(sorted(found.settings.items()))], asked["a", 0.0], asked[("a", 0.0), ("b", 1.0)]
    assert set(asked.values()) == {1}
    assert found.tried < 6 * 4 + 12


def test_what_stands_is_kept_where_nothing_is_better():
    measure, _ = measured(lambda a, b: 0.9 if (a, b) == (0.25, 3.0) else 0.4)
    found = coarse_to_fine(AXES, {"a": 0.25, "b": 3.0}, measure)
    assert (found.settings, found.score, found.before) == ({"a": 0.25, "b": 3.0}, 0.9, 0.9)
    assert found.edges == ()


def test_an_equal_score_moves_nothing():
    measure, _ = measured(lambda a, b: 0.5)
    assert coarse_to_fine(AXES, {"a": 0.1, "b": 1.5}, measure).settings == {"a": 0.1, "b": 1.5}


def test_a_plateau_is_preferred_to_a_lone_peak():
    """The peak is the highest of all: it is passed by, since no neighbour shares its height."""
    measure, _ = measured(lambda a, b: 0.9 if a == 0 else 0.8 if 2 <= a <= 4 else 0.1)
    assert coarse_to_fine(AXES[:1], {"a": 5.0}, lambda points: measure([{**p, "b": 1.0} for p in points])).settings == {"a": 3.0}


def test_what_ends_at_a_border_is_told():
    measure, _ = measured(lambda a, b: a / 10 - abs(math.log2(b) - 1) / 10)
    found = coarse_to_fine(AXES, {"a": 0.0, "b": 8.0}, measure)
    assert found.edges == ("a",)
    assert found.settings["a"] == 5.0


def test_without_scores_what_stands_is_kept():
    found = coarse_to_fine(AXES, {"a": 1.0, "b": 1.0}, lambda points: [math.nan] * len(points))
    assert found.settings == {"a": 1.0, "b": 1.0}
    assert math.isnan(found.score)


def test_an_exponent_is_a_threshold_in_disguise():
    for m in (0.1, 0.2, 0.45, 0.5, 0.6):
        assert m == pytest.approx((1 - m) ** alpha_of(m), rel=0.01)
        assert threshold_of(alpha_of(m)) == pytest.approx(m, abs=0.002)
    assert threshold_of(16.0) == pytest.approx(0.12, abs=0.005)
    assert threshold_of(middle_alpha(alpha_of(0.2), alpha_of(0.4))) == pytest.approx(0.3, abs=0.002)
