"""Labels of single pixels are never lost by resizing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelseg.class_ids import IGNORE
from labelseg.data.augment.point_labels import mark_points, resize_points

SIDES = st.integers(1, 60)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.data())
def test_a_labelled_pixel_is_in_the_target_whatever_the_size(height, width, tall, wide, data):
    point = (data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1)))
    shrunk = np.full((tall, wide), IGNORE, np.uint8)
    marked = mark_points(shrunk, np.array([point]), np.array([7], np.uint8), (height, width))
    assert (marked == 7).sum() == 1
    assert (shrunk == IGNORE).all()
    (place,) = np.argwhere(marked == 7)
    low, high = place * [height / tall, width / wide], (place + 1) * [height / tall, width / wide]
    assert ((low <= np.array(point) + 0.5) & (np.array(point) + 0.5 <= high)).all()


def test_the_usual_way_would_lose_it():
    mask = np.full((60, 60), IGNORE, np.uint8)
    mask[31, 17] = 3
    assert (np.array(Image.fromarray(mask).resize((20, 20), Image.Resampling.NEAREST)) == IGNORE).all()
    assert (mark_points(np.full((20, 20), IGNORE, np.uint8), np.array([[31, 17]]), np.array([3], np.uint8), (60, 60)) == 3).sum() == 1


def test_a_size_that_stays_moves_nothing():
    points = np.argwhere(np.ones((4, 5)))
    np.testing.assert_array_equal(resize_points(points, (4, 5), (4, 5)), points)
    assert resize_points(np.zeros((0, 2), int), (4, 5), (2, 2)).shape == (0, 2)
