from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.class_ids import IGNORE
from labelseg.ops.active.points import class_points, no_labels, segment_points, with_answers
from tests.reference_files import load


def raster(places, size):
    found = np.zeros(size, bool)
    found[places[:, 0], places[:, 1]] = True
    return found


def first_highest(vector):
    return next(k for k, value in enumerate(vector) if value == max(vector))


def slow_class_points(probabilities, free, similarity):
    """The definition with loops: class -> (row, column)."""
    found = {}
    for k in range(len(probabilities)):
        places = [(y, x) for y, x in np.ndindex(free.shape) if free[y, x] and first_highest(probabilities[:, y, x]) == k]
        if not places:
            continue
        vectors = [probabilities[:, y, x] for y, x in places]
        prototype = sum(vectors) / len(vectors)
        if similarity == "cosine":
            scores = [v @ prototype / np.sqrt((v @ v) * (prototype @ prototype)) for v in vectors]
        else:
            scores = [-np.sqrt(((v - prototype) ** 2).sum()) for v in vectors]
        found[k] = places[next(i for i, score in enumerate(scores) if score >= max(scores) - 1e-12)]
    return found


def test_three_rounds_of_segments_are_the_recorded_ones():
    recorded = load("labor", "B1_inconsistency_spl")
    truth = recorded["gt"]
    asked, labels = np.zeros(truth.shape, bool), no_labels(truth.shape)
    for r in (1, 2, 3):
        places = segment_points(recorded[f"r{r}_mask"] > 0, asked)
        np.testing.assert_array_equal(raster(places, truth.shape), recorded[f"r{r}_spl_new"])
        assert not (raster(places, truth.shape) & asked).any()
        asked |= raster(places, truth.shape)
        labels = with_answers(labels, places, truth[places[:, 0], places[:, 1]])
        np.testing.assert_array_equal(labels, recorded[f"r{r}_spl_label"])
        assert asked.mean() == recorded[f"r{r}_spl_requested_fraction"]
        assert (labels != IGNORE).sum() == recorded[f"r{r}_spl_labelled_pixels"]


def test_more_segments_than_allowed_leave_those_of_the_highest_order():
    mask, order = np.ones((2, 3), bool), np.array([[1, 5, 3], [3, 0, 9]])
    asked = np.zeros((2, 3), bool)
    assert segment_points(mask, asked, order, 3).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert segment_points(mask, asked, order, 9).tolist() == segment_points(mask, asked).tolist()
    assert segment_points(mask, asked, most=2).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
def test_points_and_prototypes_are_the_recorded_ones(similarity):
    recorded = load("labor", "B2_ppl_unit")
    probabilities = (recorded["p1"] + recorded["p2"]) / 2
    free = recorded["free"] > 0
    assert not (free & (recorded["already"] > 0)).any()
    found = class_points(probabilities, free, similarity)
    np.testing.assert_array_equal(found.classes, recorded[f"{similarity}_classes"])
    np.testing.assert_array_equal(found.places, recorded[f"{similarity}_points"])
    np.testing.assert_array_equal(found.sizes, recorded[f"{similarity}_size"])
    np.testing.assert_allclose(found.prototypes, recorded[f"{similarity}_prototypes"], rtol=1e-12)
    np.testing.assert_allclose(found.similarity, recorded[f"{similarity}_best"], rtol=1e-12)


def test_free_pixels_are_those_where_the_classifiers_differ_and_nobody_asked_before():
    recorded = load("labor", "B2_ppl_unit")
    differ = recorded["p1"].argmax(0) != recorded["p2"].argmax(0)
    np.testing.assert_array_equal(differ & (recorded["already"] == 0), recorded["free"])


def test_a_class_without_an_uncertain_pixel_is_passed_over():
    recorded = load("labor", "B2_ppl_unit")
    found = class_points((recorded["p1"] + recorded["p2"]) / 2, recorded["skip_free"] > 0)
    np.testing.assert_array_equal(found.classes, recorded["skip_classes"])
    np.testing.assert_array_equal(found.places, recorded["skip_points"])
    np.testing.assert_array_equal(found.sizes, recorded["skip_size"])
    np.testing.assert_allclose(found.prototypes, recorded["skip_prototypes"], rtol=1e-12)
    np.testing.assert_allclose(found.similarity, recorded["skip_best"], rtol=1e-12)


def test_the_first_of_two_equal_pixels_is_asked():
    recorded = load("labor", "B2_ppl_unit")
    found = class_points((recorded["tie_p1"] + recorded["tie_p2"]) / 2, recorded["tie_free"] > 0)
    np.testing.assert_array_equal(found.classes, recorded["tie_classes"])
    np.testing.assert_array_equal(found.places, recorded["tie_points"])
    assert recorded["tie_pair"][0].tolist() in found.places.tolist()
    assert recorded["tie_pair"][1].tolist() not in found.places.tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["cosine", "l2"]), st.floats(0.05, 0.9))
def test_points_follow_their_definition(seed, similarity, share):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(4), (6, 7)).transpose(2, 0, 1)
    free = rng.random((6, 7)) < share
    found = class_points(probabilities, free, similarity)
    assert dict(zip(found.classes.tolist(), map(tuple, found.places.tolist()), strict=True)) == slow_class_points(
        probabilities, free, similarity
    )
    assert all(free[y, x] for y, x in found.places)


def test_over_budget_the_classes_with_the_most_uncertain_pixels_stay():
    sizes = {0: 2, 1: 4, 2: 4, 3: 6}
    classes = np.repeat(list(sizes), list(sizes.values())).reshape(4, 4)
    probabilities = np.eye(4)[classes].transpose(2, 0, 1)
    free = np.ones((4, 4), bool)
    assert class_points(probabilities, free, most=2).classes.tolist() == [1, 3]
    assert class_points(probabilities, free, most=3).classes.tolist() == [1, 2, 3]
    assert class_points(probabilities, free, most=0).places.shape == (0, 2)


def test_classes_may_be_those_of_one_classifier():
    recorded = load("labor", "B2_ppl_unit")
    mean, free = (recorded["p1"] + recorded["p2"]) / 2, recorded["free"] > 0
    found = class_points(mean, free, assigned=recorded["p1"].argmax(axis=0))
    one = recorded["p1"].argmax(axis=0)
    assert [one[y, x] for y, x in found.places] == found.classes.tolist()


def test_nothing_uncertain_asks_nothing():
    found = class_points(np.full((3, 4, 4), 1 / 3), np.zeros((4, 4), bool))
    assert (found.places.shape, found.prototypes.shape) == ((0, 2), (0, 3))
    assert segment_points(np.zeros((4, 4), bool), np.zeros((4, 4), bool)).shape == (0, 2)


def test_who_cannot_tell_labels_nothing():
    labels = with_answers(no_labels((2, 2)), np.array([[0, 0], [1, 1]]), np.array([3, IGNORE]))
    assert labels.tolist() == [[3, IGNORE], [IGNORE, IGNORE]]


def test_a_bound_on_segments_is_kept_to_the_pixel():
    mask = np.ones((2, 3), bool)
    asked = np.array([[1, 0, 0], [0, 0, 0]], bool)
    order = np.array([[9, 1, 2], [3, 2, 5]])
    assert segment_points(mask, asked, order, 4).tolist() == [[0, 2], [1, 0], [1, 1], [1, 2]]
    assert len(segment_points(mask, asked, order, 5)) == 5
