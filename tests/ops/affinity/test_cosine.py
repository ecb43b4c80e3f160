"""Affinities of features: cosines, and walks over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelseg.ops.affinity.cosine import cosine_affinities, unit_features
from labelseg.ops.affinity.pairs import pair_offsets
from labelseg.ops.affinity.random_walk import random_walk

OFFSETS = pair_offsets(3)


def features_of(seed=0, size=(5, 7), channels=4):
    return np.random.default_rng(seed).standard_normal((*size, channels)) + 0.5


def in_loops(features):
    """max(0, cos) of each pair; 0 where the partner is off the grid."""
    found = np.zeros((len(OFFSETS), *features.shape[:2]))
    for k, y, x in np.ndindex(found.shape):
        to_y, to_x = y + OFFSETS[k][0], x + OFFSETS[k][1]
        if 0 <= to_y < features.shape[0] and 0 <= to_x < features.shape[1]:
            one, other = features[y, x].tolist(), features[to_y, to_x].tolist()
            dot = sum(a * b for a, b in zip(one, other, strict=True))
            lengths = sum(a * a for a in one) * sum(b * b for b in other)
            found[k, y, x] = max(0.0, dot / lengths**0.5) if lengths else 0.0
    return found


def walk_in_loops(scores, features, beta, steps):
    """Take every step of every cell: the mean of its partners, itself among them, weighed by max(0, cos) ** beta."""
    height, width, _ = features.shape
    cells = list(np.ndindex(height, width))

    def weight(one, other):
        if one == other:
            return 1.0
        if (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 >= 9:
            return 0.0
        a, b = features[one], features[other]
        return max(0.0, float(a @ b) / float(np.sqrt((a @ a) * (b @ b)))) ** beta

    weights = {cell: {other: w for other in cells if (w := weight(cell, other))} for cell in cells}
    for _ in range(steps):
        scores = np.array(
            [
                [sum(w * one[other] for other, w in weights[y, x].items()) / sum(weights[y, x].values()) for x in range(width)]
                for one in scores
                for y in range(height)
            ]
        ).reshape(scores.shape)
    return scores


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (4, 1), (1, 1)])
def test_affinities_are_cosines_that_are_not_negative(size):
    features = features_of(size=size)
    features[0, 0] = 0
    found = cosine_affinities(features, OFFSETS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, in_loops(features), atol=1e-6)


def test_some_pairs_point_away_from_each_other_and_are_not_linked():
    expected = in_loops(features_of())
    assert (expected == 0).mean() > 0.1 < (expected > 0.5).mean()


@given(st.floats(-3, 4), st.integers(0, 5))
def test_the_length_of_a_feature_counts_for_nothing(exponent, seed):
    features = features_of(seed)
    lengths = 10.0 ** (exponent * np.random.default_rng(seed + 1).random((5, 7, 1)))
    np.testing.assert_allclose(cosine_affinities(features * lengths, OFFSETS), cosine_affinities(features, OFFSETS), atol=1e-6)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_lengths_whose_square_no_float_holds_count_for_nothing(factor):
    unit = unit_features(np.array([3, 4], np.float32) * np.float32(factor))
    np.testing.assert_allclose(unit, [0.6, 0.8], rtol=1e-6)


def test_features_in_half_precision_keep_their_directions():
    large = features_of(channels=600) * 200  # squares beyond 65504
    np.testing.assert_allclose(cosine_affinities(large.astype(np.float16), OFFSETS), cosine_affinities(large, OFFSETS), atol=1e-3)


def test_the_features_given_stay_as_they_are():
    features = features_of().astype(np.float32)
    before = features.copy()
    cosine_affinities(features, OFFSETS)
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("tolerance", [0, 1e-4])
def test_a_walk_over_cosines_is_that_of_its_definition(tolerance):
    features, scores = features_of(), np.random.default_rng(3).random((2, 5, 7))
    walked = random_walk(scores, cosine_affinities(features, OFFSETS), OFFSETS, beta=2.5, steps=9, tolerance=tolerance)
    expected = walk_in_loops(scores, features, 2.5, 9)
    np.testing.assert_allclose(walked, expected, atol=max(2 * tolerance, 1e-5))
    assert np.abs(expected - scores).max() > 0.2


@given(st.integers(0, 20), st.floats(0.5, 16))
def test_a_constant_map_stays_as_it_is(seed, beta):
    walked = random_walk(np.full((1, 5, 7), 0.7), cosine_affinities(features_of(seed), OFFSETS), OFFSETS, beta=beta, steps=40)
    np.testing.assert_allclose(walked, 0.7, atol=1e-6)
