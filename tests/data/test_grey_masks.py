from __future__ import annotations

import numpy as np
import pytest

from labelseg.data.grey_masks import demand_class_ids
from labelseg.errors import DataError


class Drawn:
    """Masks by id, with tags for some."""

    classes = ("background", "cat", "dog")

    def __init__(self, masks, tags=None):
        self.masks, self.known = masks, tags or {}

    def has(self, image_id, kind):
        return image_id in (self.known if kind == "tags" else self.masks)

    def tags(self, image_id):
        return self.known.get(image_id)

    def mask(self, image_id):
        if self.masks[image_id] is None:
            raise DataError("broken")
        return np.array([self.masks[image_id]], np.uint8)


GREY, PLAIN, RIGHT = [0, 0, 0, 255], [0, 0, 0, 0], [0, 2, 255, 0]


def test_grey_values_are_refused_with_file_share_and_line():
    with pytest.raises(DataError, match=r"b: .*0 to 2, .*255 alone \(255 on 25% of it\).* 1 for 'cat': mask\[mask == 255\] = 1"):
        demand_class_ids(Drawn({"a": PLAIN, "b": GREY, "c": None}), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("masks", "tags"),
    [
        ({}, {}),
        ({"a": PLAIN}, {}),  # background, nothing else
        ({"a": None}, {}),  # told where it is used
        ({"a": GREY, "b": RIGHT}, {}),
        ({"a": GREY, "b": [1, 1]}, {}),
        ({"a": GREY}, {"a": ()}),  # rims, and known to hold nothing
    ],
)
def test_masks_that_may_be_right_pass(masks, tags):
    demand_class_ids(Drawn(masks, tags), list(masks))


def test_a_tag_says_that_an_object_should_be_there():
    with pytest.raises(DataError, match="grey values"):
        demand_class_ids(Drawn({"a": GREY}, {"a": (1,)}), ["a"])


def test_many_masks_are_looked_at_evenly():
    masks = {f"{k:03}": GREY for k in range(100)}
    asked = []
    drawn = Drawn(masks)
    read = drawn.mask
    drawn.mask = lambda image_id: asked.append(image_id) or read(image_id)
    with pytest.raises(DataError, match="000: "):
        demand_class_ids(drawn, list(masks))
    assert 10 <= len(asked) <= 16
    assert asked[-1] > "090"
