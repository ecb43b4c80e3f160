"""Polygons hold the very pixels of a region: filled by slow rules of our own, and by the reader that COCO comes with."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.exchange.shapes.outlines import centre_polygon, corner_polygon
from labelseg.exchange.shapes.regions import regions

RING = np.ones((5, 6), bool)
RING[1:4, 1:5] = False
NESTED = np.ones((9, 9), bool)  # a hole below a hole, and one beside them
NESTED[1:3, 2:4] = NESTED[5:8, 2:4] = NESTED[4, 6] = False
CORNERS = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)
SHAPES = {"pixel": np.ones((1, 1), bool), "line": np.ones((1, 5), bool), "ring": RING, "nested": NESTED, "corners": CORNERS}


def filled(points, size, offset):
    """Even-odd rule at the middles of pixels, which lie at ``offset`` from their numbers, by a ray to the right."""
    found = np.zeros(size, bool)
    for y in range(size[0]):
        for x in range(size[1]):
            place_y, place_x = y + offset, x + offset
            for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
                if (y0 > place_y) != (y1 > place_y) and place_x < x0 + (place_y - y0) * (x1 - x0) / (y1 - y0):
                    found[y, x] ^= True
    return found


def touched(points, size):
    """Pixels that the lines of a polygon run through, where all are horizontal, vertical or diagonal."""
    found = np.zeros(size, bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        assert 0 in (x1 - x0, y1 - y0) or abs(x1 - x0) == abs(y1 - y0)
        for step in range(steps + 1):
            found[y0 + np.sign(y1 - y0) * step, x0 + np.sign(x1 - x0) * step] = True
    return found


def by_chance(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        mask = (rng.random(rng.integers(1, 12, 2)) < rng.choice([0.4, 0.6, 0.8])).astype(np.uint8)
        yield from (region.shape for region in regions(mask))


@pytest.mark.parametrize("name", SHAPES)
def test_polygons_of_shapes_worked_out_by_hand(name):
    shape = SHAPES[name]
    assert (filled(corner_polygon(shape), shape.shape, 0.5) == shape).all()
    points = centre_polygon(shape)
    # What lies on a line is touched; a ray through the middle of a pixel would graze corners.
    inside = filled([(x, y) for x, y in points], shape.shape, 1e-3) | touched(points, shape.shape)
    assert (inside == shape).all()
    assert len(points) >= 3


def test_the_polygon_of_a_rectangle_has_four_corners():
    assert sorted(corner_polygon(np.ones((2, 3), bool))) == [(0, 0), (0, 2), (3, 0), (3, 2)]
    assert sorted(centre_polygon(np.ones((2, 3), bool))) == [(0, 0), (0, 1), (2, 0), (2, 1)]


def test_polygons_hold_the_pixels_of_any_region():
    for shape in by_chance(40):
        assert (filled(corner_polygon(shape), shape.shape, 0.5) == shape).all(), shape.astype(int)
        points = centre_polygon(shape)
        assert (filled(points, shape.shape, 1e-3) | touched(points, shape.shape) == shape).all(), shape.astype(int)


def test_coco_fills_polygons_with_the_pixels_of_any_region():
    masks = pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    for shape in (*SHAPES.values(), *by_chance(60)):
        flat = [[number for point in corner_polygon(shape) for number in point]]
        assert (masks.decode(masks.frPyObjects(flat, *shape.shape))[..., 0] == shape).all(), shape.astype(int)


def test_regions_are_those_of_a_flood_over_sides_and_corners():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = rng.choice([0, 1, 2, 255], (9, 11)).astype(np.uint8)
        found = list(regions(mask))
        rebuilt = np.where(mask == 255, 0, mask)
        for region in found:
            full = region.in_full(mask.shape).astype(bool)
            assert (mask[full] == region.class_id).all()
            assert full.any(axis=1).argmax() == region.top and full.any(axis=0).argmax() == region.left
            assert (rebuilt[full] != 0).all()
            rebuilt[full] = 0
            assert flood(mask, tuple(np.argwhere(full)[0])) == {tuple(place) for place in np.argwhere(full).tolist()}
        assert not rebuilt.any()


def flood(mask, start):
    """All pixels of one class that can be reached over sides and corners."""
    found, todo = {tuple(map(int, start))}, [tuple(map(int, start))]
    while todo:
        y, x = todo.pop()
        for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
            inside = 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
            if inside and near not in found and mask[near] == mask[y, x]:
                found.add(near)
                todo.append(near)
    return found
