"""Floods that are drawn: which class counts as one, and what takes its place."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.affinity.floods import class_shares, competing_mask, flooded_classes, guard_mask, replace_classes

CAT, DOG = 2, 5


@pytest.fixture
def drawn():
    """A mask in which the dog has flooded all but the cat, and one in which it lies in a corner."""
    flooded = np.full((8, 10), DOG, np.uint8)
    flooded[:4, :5] = CAT
    calm = np.zeros((8, 10), np.uint8)
    calm[:4, :5] = CAT
    calm[6:, 6:] = DOG
    return flooded, calm


def test_a_flood_is_told_from_an_object_that_grew(drawn):
    flooded, calm = drawn
    assert class_shares(flooded, [CAT, DOG]).tolist() == [20 / 80, 60 / 80]
    assert class_shares(calm, [CAT, DOG]).tolist() == [20 / 80, 8 / 80]
    assert flooded_classes(flooded, [calm], [CAT, DOG], factor=2.0, margin=0.1).tolist() == [DOG]
    assert flooded_classes(flooded, [calm], [CAT, DOG], factor=7.0, margin=0.1).tolist() == []
    assert flooded_classes(flooded, [calm], [CAT, DOG], factor=0.0, margin=0.25).tolist() == [DOG]
    assert flooded_classes(flooded, [calm], [], factor=0.0, margin=0.0).tolist() == []


def test_the_largest_trusted_share_of_a_class_counts(drawn):
    flooded, calm = drawn
    half = calm.copy()
    half[4:] = DOG
    assert flooded_classes(flooded, [calm, half], [CAT, DOG], factor=1.3, margin=0.1).tolist() == []
    assert flooded_classes(flooded, [half], [CAT, DOG], factor=1.3, margin=0.04).tolist() == [DOG]
    assert np.array_equal(guard_mask(flooded, [calm, half], [CAT, DOG], 1.0, 0.1), replace_classes(flooded, calm, [DOG]))


def test_void_is_no_part_of_an_image():
    mask = np.array([[CAT, 255, 0, 255]], np.uint8)
    assert class_shares(mask, [CAT]).tolist() == [0.5]
    assert class_shares(np.full((2, 2), 255, np.uint8), [CAT]).tolist() == [0.0]


def test_a_replaced_class_has_the_pixels_of_the_other_mask_and_leaves_others_alone(drawn):
    flooded, calm = drawn
    calm[0, 0] = DOG  # where the cat is, the dog may not come
    before = flooded.copy()
    mended = replace_classes(flooded, calm, [DOG])
    expected = np.zeros_like(flooded)
    expected[6:, 6:] = DOG
    expected[:4, :5] = CAT
    assert np.array_equal(mended, expected)
    assert np.array_equal(flooded, before)


def test_nothing_to_replace_leaves_the_mask(drawn):
    flooded, calm = drawn
    assert np.array_equal(replace_classes(flooded, calm, []), flooded)


@pytest.mark.parametrize(("weight", "expected"), [(1.0, [0, CAT, 0]), (1.2, [0, 0, 0]), (0.5, [CAT, CAT, 0])])
def test_the_background_competes_with_its_weight(weight, expected):
    walked = np.array([[[0.8, 0.9, 0.5]], [[0.7, 1.0, 0.2]]], np.float32)
    assert competing_mask(walked, [0, CAT], weight).tolist() == [expected]


def test_the_background_wins_a_tie():
    assert competing_mask(np.full((2, 1, 1), 0.5, np.float32), [0, CAT], 1.0).tolist() == [[0]]
