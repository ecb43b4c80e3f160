from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch

from labelseg.errors import UsageError
from labelseg.ops.crf import lattice
from labelseg.ops.crf.lattice import build_lattice, lattice_filter
from labelseg.ops.crf.lattice_torch import build_torch_lattice, torch_lattice_filter
from labelseg.ops.crf.simplices import enclosing_simplices, key_code


def random_points(d: int, n: int, spread: float = 1.5) -> np.ndarray:
    return (np.random.default_rng(d).normal(size=(d, n)) * spread).astype(np.float32)


def basis_of_the_plane(d: int) -> np.ndarray:
    """Orthogonal vectors of the plane where d + 1 coordinates sum to 0, each of the length that one deviation has there."""
    rows = [[1.0] * (j + 1) + [-(j + 1.0)] + [0.0] * (d - j - 1) for j in range(d)]
    return np.array([np.array(row) / np.linalg.norm(row) for row in rows]) * (d + 1) * np.sqrt(2 / 3)


def filter_by_definition(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Splat, blur and slice with vertices in a dictionary and weights from a linear system, in float64."""
    d = len(points)
    vertices, shares = [], []
    for place in points.T.astype(np.float64) @ basis_of_the_plane(d):
        corners, weights = simplex_around(place)
        vertices.append(corners)
        shares.append(weights)
    table: dict[tuple[int, ...], float] = defaultdict(float)
    for corners, weights, value in zip(vertices, shares, values, strict=True):
        for corner, weight in zip(corners, weights, strict=True):
            table[corner] += weight * value
    for axis in range(d + 1):
        step = np.ones(d + 1, int) - (d + 1) * np.eye(d + 1, dtype=int)[axis]
        table = {
            corner: own + 0.5 * (table.get(tuple(corner + step), 0.0) + table.get(tuple(corner - step), 0.0))
            for corner, own in table.items()
        }
    return np.array(
        [
            sum(w * table[corner] for corner, w in zip(corners, weights, strict=True))
            for corners, weights in zip(vertices, shares, strict=True)
        ]
    )


def simplex_around(place: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Walk from the remainder-0 vertices nearby along every order of axes until the point lies inside the simplex."""
    size = len(place)
    near = np.round(place / size).astype(int) * size
    changes = [np.array(change) * size for change in itertools.product((-1, 0, 1), repeat=size)]
    starts = [near + change for change in changes if (near + change).sum() == 0]
    for start in sorted(starts, key=lambda corner: np.abs(corner - place).max()):
        order = np.argsort(place - start)
        steps = [np.ones(size, int) - size * np.eye(size, dtype=int)[axis] for axis in order]
        corners = [start + sum(steps[:r], np.zeros(size, int)) for r in range(size)]
        system = np.vstack([np.array(corners).T, np.ones(size)])
        weights = np.linalg.lstsq(system, np.append(place, 1.0), rcond=None)[0]
        if weights.min() > -1e-9:
            return [tuple(int(x) for x in corner) for corner in corners], weights
    raise AssertionError("no simplex found")


@pytest.mark.parametrize("d", [1, 2, 5])
def test_filtering_follows_its_definition(d):
    points, values = random_points(d, 60), np.random.default_rng(0).random(60).astype(np.float32)
    expected = filter_by_definition(points, values)
    np.testing.assert_allclose(lattice_filter(build_lattice(points), values), expected, rtol=1e-4)


@pytest.mark.parametrize(("d", "spread"), [(2, 2.0), (5, 1.0)])
def test_filtering_is_near_the_exact_gaussian(d, spread):
    points = random_points(d, 1500, spread)
    values = np.sin(points[0] / 2)
    kernel = np.exp(-0.5 * ((points[:, :, None] - points[:, None]) ** 2).sum(axis=0))
    exact = kernel @ values / kernel.sum(axis=1)
    lattice = build_lattice(points)
    found = lattice_filter(lattice, values) / lattice_filter(lattice, np.ones_like(values))
    assert np.abs(found - exact).mean() < 0.06
    assert np.corrcoef(found, exact)[0, 1] > 0.97


@pytest.mark.parametrize(("d", "n", "spread"), [(2, 500, 3.0), (5, 500, 2.0), (5, 9000, 40.0)])
def test_filtering_with_torch_gives_the_same(d, n, spread):
    points, values = random_points(d, n, spread), np.random.default_rng(0).random(n).astype(np.float32)
    lattice = build_torch_lattice(points, "cpu")
    filtered = torch_lattice_filter(lattice, torch.from_numpy(values)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(lattice_filter(build_lattice(points), values), filtered, rtol=1e-4)


def test_points_beyond_the_first_room_get_vertices_of_their_own():
    points = random_points(5, 9000, 40.0)
    lattice = build_lattice(points)
    assert lattice.rows - 1 == len(np.unique(lattice.vertex)) > 40_000


@pytest.mark.parametrize("d", [2, 5])
def test_weights_of_a_simplex_are_a_mean(d):
    lattice = build_lattice(random_points(d, 2000, 4.0))
    assert lattice.weight.min() >= -1e-5
    np.testing.assert_allclose(lattice.weight.sum(axis=1), 1, atol=1e-5)


def test_first_vertices_lie_in_the_plane_and_every_axis_is_stepped_along_once():
    origin, _, position = enclosing_simplices(torch.from_numpy(random_points(5, 3000, 30.0)))
    assert (origin.sum(dim=0) == 0).all()
    assert (position.sort(dim=0).values == torch.arange(6)[:, None]).all()


def test_equal_points_share_their_vertices():
    lattice = build_lattice(np.full((5, 7), 0.3, np.float32))
    assert lattice.rows - 1 == 6
    np.testing.assert_allclose(lattice_filter(lattice, np.ones(7, np.float32)), lattice_filter(lattice, np.ones(7, np.float32))[0])


def test_images_too_wide_for_a_kernel_are_refused():
    with pytest.raises(UsageError, match=r"spans too many deviations of a kernel\. Choose larger ones"):
        key_code(np.array([[0, 1e6]] * 5, dtype=np.float32))


def test_threads_of_torch_are_left_out_of_it_and_come_back(monkeypatch):
    seen, find, before = [], lattice.enclosing_simplices, torch.get_num_threads()
    monkeypatch.setattr(lattice, "enclosing_simplices", lambda points: seen.append(torch.get_num_threads()) or find(points))
    torch.set_num_threads(2)
    try:
        lattice.build_lattice(np.zeros((2, 3), np.float32))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
