"""Maps between image and grid."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.affinity.grid import from_grid, to_grid

SIZES = [(1, 1), (7, 9), (16, 24), (33, 50)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [4, 8])
def test_a_constant_map_stays_constant_both_ways(size, stride):
    cells = to_grid(np.full((2, 5, 6), 0.7, np.float32), size, stride)
    assert cells.shape == (2, -(-size[0] // stride), -(-size[1] // stride))
    np.testing.assert_allclose(cells, 0.7, rtol=1e-6)
    back = from_grid(cells, stride, size, size)
    assert back.shape == (2, *size)
    np.testing.assert_allclose(back, 0.7, rtol=1e-6)


def test_cells_are_means_of_their_pixels():
    maps = np.arange(2 * 10 * 13, dtype=np.float32).reshape(2, 10, 13)
    cells = to_grid(maps, (10, 13), 4)
    expected = [[[maps[c, y : y + 4, x : x + 4].mean() for x in range(0, 13, 4)] for y in range(0, 10, 4)] for c in range(2)]
    np.testing.assert_allclose(cells, expected, rtol=1e-6)


def test_zero_padding_counts_where_it_is_asked_for():
    cells = to_grid(np.ones((1, 5, 8), np.float32), (5, 8), 8, count_padding=True)
    np.testing.assert_allclose(cells, [[[5 / 8]]])


def test_a_ramp_keeps_its_place_at_sizes_that_are_no_multiple_of_the_stride():
    """A column of the image lands where its cell says: the middle of cell i is at 8 i + 3.5."""
    ramp = np.broadcast_to(np.arange(45, dtype=np.float32), (1, 30, 45)).copy()
    back = from_grid(to_grid(ramp, (30, 45), 8), 8, (30, 45), (30, 45))
    np.testing.assert_allclose(back[0, 15, 4:36], ramp[0, 15, 4:36], atol=1e-4)


def test_inputs_stay_as_they_are():
    maps = np.random.default_rng(0).random((2, 9, 9)).astype(np.float32)
    before = maps.copy()
    from_grid(to_grid(maps, (18, 18), 8), 8, (18, 18), (9, 9))
    np.testing.assert_array_equal(maps, before)
