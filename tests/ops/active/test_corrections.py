"""Answers to single pixels in masks, and pixels that are worth a question."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.class_ids import IGNORE
from labelseg.ops.active.corrections import correct_mask, disagreement, doubtful, widest_points

GREY = np.full((9, 12, 3), 90, np.uint8)


def halves():
    """A mask of two halves, left 1 and right 2."""
    mask = np.ones((9, 12), np.uint8)
    mask[:, 6:] = 2
    return mask


def corrected(mask, points, labels, reach=4.0, colour=0.0, image=GREY):
    return correct_mask(mask, image, np.array(points), np.array(labels, np.uint8), reach, colour)


def test_an_answer_spreads_in_what_the_mask_takes_for_one_thing_as_far_as_it_reaches():
    found = corrected(halves(), [(4, 4)], [3])
    rows, columns = np.indices((9, 12))
    near = (abs(rows - 4) + abs(columns - 4) <= 4) & (columns < 6)
    np.testing.assert_array_equal(found, np.where(near, 3, halves()))


def test_an_answer_that_agrees_keeps_others_away():
    found = corrected(np.ones((9, 12), np.uint8), [(4, 2), (4, 7)], [3, 1], reach=20.0)
    assert found[4].tolist() == [3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1]


def test_an_answer_stops_at_a_change_of_colour():
    image = GREY.copy()
    image[:, 4:] = 250
    found = corrected(np.ones((9, 12), np.uint8), [(4, 2)], [3], reach=10.0, colour=30.0, image=image)
    assert (found[:, :4] == 3).all()
    assert (found[:, 4:] == 1).all()


def test_an_answer_does_not_jump_over_another_thing():
    mask = np.ones((9, 12), np.uint8)
    mask[:, 5] = 2
    assert (corrected(mask, [(4, 2)], [3], reach=50.0)[:, 6:] == 1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 3.0, 40.0]), st.sampled_from([0.0, 30.0]))
def test_what_an_answer_says_at_its_pixel_is_always_kept(seed, reach, colour):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (9, 12))
    image = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    places = rng.permutation(9 * 12)[: rng.integers(0, 20)]
    points, labels = np.stack(np.unravel_index(places, (9, 12)), axis=1), rng.integers(0, 3, len(places)).astype(np.uint8)
    before = mask.copy()
    found = correct_mask(mask, image, points, labels, reach, colour)
    np.testing.assert_array_equal(found[points[:, 0], points[:, 1]], labels)
    np.testing.assert_array_equal(mask, before)
    assert found.dtype == np.uint8
    untouched = ~np.isin(mask, mask[points[:, 0], points[:, 1]])
    np.testing.assert_array_equal(found[untouched], mask[untouched])


def test_pairs_of_classes_on_which_masks_disagree_are_told_apart():
    one, other = np.array([[1, 1, 2, IGNORE, 3]], np.uint8), np.array([[1, 2, 1, 3, IGNORE]], np.uint8)
    found = disagreement(one, other)[0]
    assert (found >= 0).tolist() == [False, True, True, False, False]
    assert found[1] != found[2]


def test_the_least_sure_pixels_are_doubtful_each_with_its_class():
    confidence = np.array([[0.1, 0.2, 0.3, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]])
    assert doubtful(np.arange(10, dtype=np.uint8)[None], confidence, 0.2)[0].tolist() == [0, 1, -1, -1, -1, -1, -1, -1, -1, -1]
    assert (doubtful(np.zeros((1, 10), np.uint8), np.ones((1, 10)), 0.5) == -1).all()


def test_the_middle_of_the_widest_place_is_asked_first_and_places_that_touch_count_apart():
    groups = np.full((20, 30), -1)
    groups[2:9, 2:9] = 4
    groups[10:19, 12:21] = 5
    groups[10:19, 21:26] = 6
    assert widest_points(groups, 3).tolist() == [[14, 16], [5, 5], [12, 23]]


def test_fewer_pixels_are_asked_where_no_more_are_in_doubt():
    groups = np.full((6, 6), -1)
    assert widest_points(groups, 5).shape == (0, 2)
    groups[2, 3] = 0
    assert widest_points(groups, 5).tolist() == [[2, 3]]


@pytest.mark.parametrize("seed", range(3))
def test_no_pixel_is_asked_twice_and_all_are_in_doubt(seed):
    groups = np.random.default_rng(seed).integers(-1, 3, (15, 17))
    found = widest_points(groups, 400)
    assert len({tuple(point) for point in found.tolist()}) == len(found)
    assert 100 < len(found) <= (groups >= 0).sum()
    assert (groups[found[:, 0], found[:, 1]] >= 0).all()


def test_pairs_of_classes_are_groups_of_their_own():
    mask, other = np.array([[1, 1, 1, 2, 255]], np.uint8), np.array([[2, 3, 1, 1, 0]], np.uint8)
    found = disagreement(mask, other)[0]
    assert len(set(found[[0, 1, 3]].tolist())) == 3
    assert found[[2, 4]].tolist() == [-1, -1]


def test_what_lies_as_far_as_the_nearest_other_pixel_stays_to_be_asked():
    assert widest_points(np.array([[0, 0]]), 2).tolist() == [[0, 0], [0, 1]]
