from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.ops.active.strategies import (
    chance_of_highest,
    chance_points,
    entropy,
    highest_points,
    mixed_uncertainty,
    narrowness,
    region_impurity,
    seeded,
)


def slow_impurity(classes, n_classes, radius):
    """The definition, window by window."""
    found = np.zeros(classes.shape)
    for y, x in np.ndindex(classes.shape):
        window = classes[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        shares = [(window == k).mean() for k in range(n_classes)]
        found[y, x] = -sum(s * np.log(s + 1e-6) for s in shares)
    return found


def slow_highest(scores, free, count, radius):
    """One after the other, with a list of squares that are taken."""
    found = []
    for _ in range(count):
        left = [
            (-scores[y, x], y, x)
            for y, x in np.ndindex(scores.shape)
            if free[y, x] and all(max(abs(y - a), abs(x - b)) > radius for a, b in found)
        ]
        if left:
            found.append(min(left)[1:])
    return [list(place) for place in found]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3), st.integers(0, 12))
def test_the_highest_are_chosen_one_after_the_other(seed, radius, count):
    rng = np.random.default_rng(seed)
    scores, free = rng.integers(0, 9, (6, 8)).astype(float), rng.random((6, 8)) < 0.7
    expected = slow_highest(scores, free, count, max(radius, 0))
    found = highest_points(scores, free, count, radius).tolist()
    assert found == expected


def test_impurity_and_its_product_follow_their_definition():
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.full(4, 0.4), (7, 9)).transpose(2, 0, 1)
    classes = probabilities.argmax(axis=0)
    impurity = slow_impurity(classes, 4, 2)
    np.testing.assert_allclose(region_impurity(classes, 4, 2), impurity, rtol=1e-12, atol=1e-12)
    own = -(probabilities * np.log(probabilities + 1e-6)).sum(axis=0)
    np.testing.assert_allclose(mixed_uncertainty(probabilities, 2), impurity * own, rtol=1e-12, atol=1e-12)
    averaged = [[own[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].mean() for x in range(9)] for y in range(7)]
    np.testing.assert_allclose(mixed_uncertainty(probabilities, 2, averaged=True), impurity * averaged, rtol=1e-12, atol=1e-12)


def test_entropy_and_narrowness_of_known_predictions():
    predictions = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3] * 3]).T[:, None]
    np.testing.assert_allclose(entropy(predictions)[0], [0, np.log(2), np.log(3)], atol=1e-12)
    np.testing.assert_allclose(narrowness(predictions)[0], [-1, 0, 0], atol=1e-12)


def test_chance_takes_free_pixels_alone_and_each_as_often():
    free = np.zeros((4, 5), bool)
    free[1:3] = True
    counts = np.zeros((4, 5))
    for k in range(400):
        places = chance_points(free, 3, seeded(0, f"image {k}", 1))
        counts[places[:, 0], places[:, 1]] += 1
    assert counts.sum() == 1200
    assert not counts[~free].any()
    assert np.abs(counts[free] - 120).max() < 40


def test_chance_depends_on_seed_round_and_image_only():
    free = np.ones((30, 30), bool)

    def drawn(*words):
        return chance_points(free, 5, seeded(*words)).tolist()

    assert drawn(0, "a", 1) == drawn(0, "a", 1)
    assert len({str(drawn(*words)) for words in ((0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2))}) == 4


def test_chance_among_the_highest_stays_among_them():
    scores = np.arange(100.0).reshape(10, 10)
    for k in range(20):
        places = chance_of_highest(scores, np.ones((10, 10), bool), 5, 0.1, seeded(k, "a", 1))
        assert len(places) == 5
        assert scores[places[:, 0], places[:, 1]].min() >= 90
    assert len(chance_of_highest(scores, np.ones((10, 10), bool), 30, 0.1, seeded(0, "a", 1))) == 30


@pytest.mark.parametrize("count", [0, 3, 99])
def test_no_more_pixels_than_there_are(count):
    free = np.eye(5, dtype=bool)
    for places in (
        chance_points(free, count, seeded(0, "a", 1)),
        highest_points(np.ones((5, 5)), free, count),
        highest_points(np.ones((5, 5)), free, count, 1),
    ):
        assert places.shape[1:] == (2,)
        assert all(free[y, x] for y, x in places)
        assert len({tuple(place) for place in places.tolist()}) == len(places) <= min(count, 5)
