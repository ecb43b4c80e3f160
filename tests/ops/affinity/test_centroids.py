from __future__ import annotations

import numpy as np
import pytest

from labelseg.errors import UsageError
from labelseg.ops.affinity.centroids import follow_displacements, group_by_centroids

SHAPE = (24, 40)
CENTRES = ((8.0, 9.0), (14.0, 29.0))
RADII = (7.0, 8.0)


def discs():
    """Cells of two discs: 1 and 2, and 0 around them."""
    rows, columns = np.indices(SHAPE)
    owner = np.zeros(SHAPE, int)
    for k, ((y, x), radius) in enumerate(zip(CENTRES, RADII, strict=True), start=1):
        owner[np.hypot(rows - y, columns - x) <= radius] = k
    return owner


def to_centres(owner):
    """Displacements that lead straight to the centre of each disc, and out of it past the border elsewhere."""
    field = np.zeros((2, *SHAPE))
    for k, centre in enumerate(CENTRES, start=1):
        for axis in range(2):
            field[axis][owner == k] = (centre[axis] - np.indices(SHAPE)[axis])[owner == k]
    return field


def bilinear(field, y, x):
    """Read one place of a map between its cells, by the definition."""
    h, w = field.shape
    y0, x0 = min(int(y), h - 2), min(int(x), w - 2)
    a, b = y - y0, x - x0
    return (
        (1 - a) * ((1 - b) * field[y0, x0] + b * field[y0, x0 + 1])
        + a * ((1 - b) * field[y0 + 1, x0] + b * field[y0 + 1, x0 + 1])
    )  # fmt: skip


def test_ways_are_those_of_a_loop_over_cells():
    field = np.random.default_rng(3).normal(0, 2, (2, 7, 11))
    found = follow_displacements(field, iterations=3)
    for row in range(7):
        for column in range(11):
            y, x = np.clip(row + field[0, row, column], 0, 6), np.clip(column + field[1, row, column], 0, 10)
            for _ in range(3):
                dy, dx = bilinear(field[0], y, x), bilinear(field[1], y, x)
                y, x = np.clip(y + dy, 0, 6), np.clip(x + dx, 0, 10)
            np.testing.assert_allclose(found[:, row, column], (y - row, x - column), atol=1e-5)


def test_cells_of_an_object_are_one_group():
    owner = discs()
    groups = group_by_centroids(to_centres(owner), near=1.5)
    ids = [set(groups[owner == k]) for k in (1, 2)]
    assert all(len(group) == 1 for group in ids)
    assert ids[0] != ids[1]
    assert 0 not in ids[0] | ids[1]


def test_half_of_the_way_is_enough_where_it_is_gone_again():
    owner = discs()
    half = np.where(owner > 0, 0.5 * to_centres(owner), 30.0)  # what lies around leads out
    assert len(set(group_by_centroids(half, near=1.5, iterations=0)[owner == 1])) > 1
    assert len(set(group_by_centroids(half, near=1.5)[owner == 1])) == 1


def test_a_centre_is_one_group_over_corners_and_a_far_one_another():
    field = np.full((2, 6, 6), 9.0)
    for cell in ((1, 1), (2, 2), (4, 5)):  # the first two touch at a corner
        field[:, cell[0], cell[1]] = 0.0
    groups = group_by_centroids(field, iterations=0)
    assert groups[1, 1] == groups[2, 2] == 1
    assert groups[4, 5] == 2
    assert groups[0, 0] == 0  # it leads to the last cell, which is no centre
    assert groups.dtype == np.int32


def test_cells_count_to_a_centre_up_to_the_distance_that_is_named():
    field = np.full((2, 5, 5), 9.0)
    field[:, 2, 1] = field[:, 2, 3] = 0.0
    field[:, 2, 2] = (0.0, 1.0)
    joined, apart = (group_by_centroids(field, near=near, iterations=0) for near in (1.5, 0.5))
    assert joined[2, 1] == joined[2, 3] == 1
    assert (apart[2, 1], apart[2, 3]) == (1, 2)


def test_turning_the_field_turns_the_groups():
    field = np.random.default_rng(4).normal(0, 1.5, (2, 9, 13))
    turned = field[::-1].transpose(0, 2, 1)
    groups, other = (group_by_centroids(one, near=1.0, iterations=3) for one in (field, turned))
    other = other.T
    assert ((groups[:, :, None, None] == groups) == (other[:, :, None, None] == other)).all()
    assert ((groups == 0) == (other == 0)).all()


def test_input_stays_and_other_shapes_are_refused():
    field = np.zeros((2, 4, 5), np.float32)
    kept = field.copy()
    group_by_centroids(field)
    assert (field == kept).all()
    with pytest.raises(UsageError, match=r"\(2, h, w\), got \(4, 5\)"):
        follow_displacements(field[0])
