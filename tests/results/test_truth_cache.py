"""True masks that are read once for many artifacts."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.results.truth_cache import TruthCache


class Masks:
    """Masks of noise, that count how often they are read."""

    def __init__(self):
        self.read = []

    def at_file_size(self):
        return self

    def mask(self, image_id):
        self.read.append(image_id)
        return np.random.default_rng(int(image_id)).integers(0, 255, (7, 5), np.uint8)


@pytest.mark.parametrize(("room", "read"), [(10_000, ["1", "2"]), (60, ["1", "2", "2"]), (0, ["1", "2", "1", "2"])])
def test_a_mask_is_the_same_each_time_and_read_again_only_where_there_is_no_room(room, read):
    """Noise of 35 bytes does not shrink: 60 bytes have room for one."""
    masks = Masks()
    cache = TruthCache(masks, room)
    for image_id in ("1", "2", "1", "2"):
        np.testing.assert_array_equal(cache.read(image_id), Masks().mask(image_id), strict=True)
    assert masks.read == read
