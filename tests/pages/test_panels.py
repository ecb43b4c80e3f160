"""What an item becomes as layers of pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from labelseg.errors import DataError
from labelseg.pages.gallery.panels import item_layers

SIZE = (2, 3)
MASK = np.array([[0, 1, 255], [1, 0, 0]], np.uint8)


def opaque(png):
    return np.array(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3] == 255


@pytest.mark.parametrize(
    ("arrays", "classes"),
    [
        ({"mask": MASK, "labels": MASK + 1, "scores": np.ones((1, 2, 3))}, [1, 255]),
        ({"labels": MASK}, [0, 1]),
        ({"scores": np.ones((2, 2, 3)), "class_ids": np.array([4, 2])}, [4, 2]),
        ({"points": np.ones((1, 2)), "inconsistent": MASK % 2}, [255]),
    ],
)
def test_an_item_is_drawn_by_the_first_array_that_is_a_picture(arrays, classes):
    assert [k for k, _ in item_layers(arrays, SIZE, (0,))] == classes


def test_where_heads_differ_is_grey_and_all_else_clear():
    ((_, png),) = item_layers({"inconsistent": np.array([[0, 1, 0], [0, 0, 1]], np.uint8)}, SIZE, (0,))
    np.testing.assert_array_equal(opaque(png), [[False, True, False], [False, False, True]])


def test_what_is_no_picture_is_refused():
    with pytest.raises(DataError, match="no picture"):
        item_layers({"points": np.ones((1, 2))}, SIZE, (0,))
