"""Outlines of regions as polygons that hold the very pixels of the region, holes included.

A hole is part of the one polygon: a line leads from the outline to the hole, and the same line back, which encloses nothing. Filled by
the even-odd rule, as both kinds of readers do, the polygon is the region:

- ``corner_polygon`` runs along the sides of pixels; pixel (row 0, column 0) is the square from (0, 0) to (1, 1). COCO reads polygons so.
- ``centre_polygon`` runs through the middles of the outermost pixels, whose numbers are its coordinates; what it touches is inside.
  OpenCV fills polygons so, and with it YOLO.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]  # x, y
EAST, SOUTH, WEST, NORTH = range(4)
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass
class _Side:
    """A side of a pixel of the region, towards a pixel that is none of it; the region lies on its right."""

    start: Point
    end: Point
    pixel: Point
    holes: list[list[_Side]] = field(default_factory=list)  # each begins with the side that a line leads to from here


def corner_polygon(region: NDArray[np.bool_]) -> list[Point]:
    """Return the polygon along the sides of the pixels of a region.

    Args:
        region: (h, w) bool, connected by sides or corners.

    Returns:
        Corners (x, y) in whole pixels, x in [0, w] and y in [0, h], without the first one again at the end; at least four.
    """
    points = []
    for kind, side in _walk(_linked(region)):
        points += [side.end] if kind == "leave" else [side.start]
    return _without_middles(points)


def centre_polygon(region: NDArray[np.bool_]) -> list[Point]:
    """Return the polygon through the middles of the outermost pixels of a region.

    Args:
        region: (h, w) bool, connected by sides or corners.

    Returns:
        Pixels (column, row), without the first one again at the end; at least three, so that a point or a line says some twice.
    """
    points = _without_middles([side.pixel for _, side in _walk(_linked(region))])
    return [*points, points[-1], points[-1]][: max(3, len(points))]


def _walk(outline: list[_Side]) -> Iterator[tuple[str, _Side]]:
    """Go along an outline and, where a line leads to a hole, around that and back."""
    stack: list[Iterator[tuple[str, _Side | list[_Side]]]] = [_events(outline)]
    while stack:
        kind, thing = next(stack[-1], ("end", outline))
        if kind == "end":
            stack.pop()
        elif isinstance(thing, list):
            stack.append(_events(thing, closed=True))
        else:
            yield kind, thing


def _events(ring: list[_Side], closed: bool = False) -> Iterator[tuple[str, _Side | list[_Side]]]:
    """List sides, holes, and the places at which the line to a hole begins and ends."""
    for side in ring:
        yield "side", side
        for hole in side.holes:
            yield "leave", side
            yield "hole", hole
            yield "leave", side
    if closed:
        yield "side", ring[0]


def _linked(region: NDArray[np.bool_]) -> list[_Side]:
    """Trace a region; each hole hangs on the side straight above its topmost one, so that the line to it runs through the region."""
    rings = _rings(region)
    outer = next(number for number, ring in enumerate(rings) if _doubled_area(ring) > 0)
    tops = {side.pixel: side for ring in rings for side in ring if _direction(side) == EAST}
    for number, ring in enumerate(rings):
        if number == outer:
            continue
        first = min((side.start[1], side.end[0], position) for position, side in enumerate(ring) if _direction(side) == WEST)[2]
        ring = ring[first:] + ring[:first]
        x, y = ring[0].pixel
        while (x, y) not in tops:
            y -= 1
        tops[x, y].holes.append(ring)
    return rings[outer]


def _rings(region: NDArray[np.bool_]) -> list[list[_Side]]:
    """Put the sides of a region in order. Where two pixels share a corner alone, the ring goes on to the other one."""
    padded = np.pad(region, 1)
    inner = padded[1:-1, 1:-1]
    leaving: dict[Point, dict[int, _Side]] = {}
    for direction, beyond in ((EAST, padded[:-2, 1:-1]), (SOUTH, padded[1:-1, 2:]), (WEST, padded[2:, 1:-1]), (NORTH, padded[1:-1, :-2])):
        dx, dy = STEPS[direction]
        # The corner of the pixel at which a side begins: the top left one of its upper side, and so on around it.
        right, down = direction in (SOUTH, WEST), direction in (WEST, NORTH)
        for y, x in np.argwhere(inner & ~beyond).tolist():
            start = (x + right, y + down)
            leaving.setdefault(start, {})[direction] = _Side(start, (start[0] + dx, start[1] + dy), (x, y))
    rings = []
    seen: set[int] = set()
    for first in [side for ways in leaving.values() for side in ways.values()]:
        ring: list[_Side] = []
        side = first
        while id(side) not in seen:
            seen.add(id(side))
            ring.append(side)
            ways, direction = leaving[side.end], _direction(side)
            # To the left where two ways lead on: to the pixel across the corner.
            side = next(ways[way % 4] for way in (direction + 3, direction, direction + 1) if way % 4 in ways)
        if ring:
            rings.append(ring)
    return rings


def _direction(side: _Side) -> int:
    return STEPS.index((side.end[0] - side.start[0], side.end[1] - side.start[1]))


def _doubled_area(ring: list[_Side]) -> int:
    """Twice the area that a ring encloses: negative for a hole."""
    return sum(side.start[0] * side.end[1] - side.end[0] * side.start[1] for side in ring)


def _without_middles(points: list[Point]) -> list[Point]:
    """Leave out points that are said twice in a row, and those on the way straight on between two others."""
    kept: list[Point] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and _straight_on(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    while len(kept) > 1 and kept[0] == kept[-1]:
        kept.pop()
    while len(kept) > 2 and _straight_on(kept[-2], kept[-1], kept[0]):
        kept.pop()
    return kept


def _straight_on(before: Point, middle: Point, after: Point) -> bool:
    first, second = ((b[0] - a[0], b[1] - a[1]) for a, b in ((before, middle), (middle, after)))
    return first[0] * second[1] == first[1] * second[0] and first[0] * second[0] + first[1] * second[1] > 0
