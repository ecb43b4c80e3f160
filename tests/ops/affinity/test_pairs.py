from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.errors import UsageError
from labelseg.ops.affinity.pairs import pair_offsets, pair_validity, pair_windows, psa_origins, psa_pair_indices

sides = st.integers(1, 11)


@pytest.mark.parametrize("name", ["pairs_r2_4x5", "pairs_r5_13x10", "pairs_r5_47x63", "pairs_r5_5x9"])
def test_indices_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    origins, partners = psa_pair_indices(int(recorded["radius"]), tuple(recorded["size"]))
    np.testing.assert_array_equal(origins, recorded["ind_from"])
    np.testing.assert_array_equal(partners, recorded["ind_to"])
    np.testing.assert_array_equal(pair_offsets(int(recorded["radius"])), recorded["offsets_dy_dx"])


@pytest.mark.parametrize(("radius", "strict", "count"), [(1, True, 0), (1, False, 2), (5, True, 34), (5, False, 40), (10, True, 152)])
def test_a_radius_holds_this_many_offsets(radius, strict, count):
    assert len(pair_offsets(radius, strict=strict)) == count


def test_offsets_and_their_mirrors_are_all_cells_within_the_radius():
    offsets = pair_offsets(4, strict=False)
    both = {*offsets, *((-dy, -dx) for dy, dx in offsets)}
    disc = {(y, x) for y in range(-4, 5) for x in range(-4, 5) if 0 < y * y + x * x <= 16}
    assert both == disc
    assert len(both) == 2 * len(offsets)


def test_a_radius_below_one_is_refused():
    with pytest.raises(UsageError, match="at least 1, got 0"):
        pair_offsets(0)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(h=sides, w=sides, offset=st.sampled_from(pair_offsets(6)))
def test_windows_hold_each_cell_with_a_partner_in_the_grid_and_that_partner(h, w, offset):
    dy, dx = offset
    rows, columns = np.mgrid[:h, :w]
    start, partner = pair_windows((h, w), offset)
    np.testing.assert_array_equal(rows[partner], rows[start] + dy)
    np.testing.assert_array_equal(columns[partner], columns[start] + dx)
    inside = (rows + dy < h) & (columns + dx >= 0) & (columns + dx < w)
    np.testing.assert_array_equal(pair_validity((h, w), [offset])[0], inside)


@pytest.mark.parametrize("size", [(1, 1), (4, 30), (30, 8)])
def test_the_published_code_has_no_pairs_in_small_grids(size):
    assert not psa_origins(size, 5).any()
    assert psa_pair_indices(5, size)[1].shape == (34, 0)
