"""The badges that mark the classes of the built-in scenes: small shapes with colours and a pattern of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# From coordinates along and across the badge, in its radii: how deep inside each of two layers a point lies, in radii.
Layers = Callable[[Array, Array], tuple[Array, Array]]


def _target(x: Array, y: Array) -> tuple[Array, Array]:
    """A disc with a ring in it."""
    distance = np.hypot(x, y)
    return 1 - distance, 0.2 - np.abs(distance - 0.5)


def _cross(x: Array, y: Array) -> tuple[Array, Array]:
    """A square with a cross in it."""
    square = 0.9 - np.maximum(np.abs(x), np.abs(y))
    return square, np.minimum(square - 0.12, 0.22 - np.minimum(np.abs(x), np.abs(y)))


def _star(x: Array, y: Array) -> tuple[Array, Array]:
    """A star of five points with a round heart."""
    theta, distance = np.arctan2(y, x), np.hypot(x, y)
    points = 0.68 + 0.32 * np.cos(5 * theta)
    return points - distance, 0.3 - distance


def _flag(x: Array, y: Array) -> tuple[Array, Array]:
    """A wide rectangle with three bars."""
    sheet = np.minimum(1.05 - np.abs(x), 0.75 - np.abs(y))
    return sheet, np.minimum(sheet, 0.14 - np.abs(np.mod(x + 0.35, 0.7) - 0.35))


def _diamond(x: Array, y: Array) -> tuple[Array, Array]:
    """A diamond with a smaller diamond cut into it."""
    distance = np.abs(x) + np.abs(y)
    return (1.1 - distance) * 0.7, (0.5 - distance) * 0.7


def _eyes(x: Array, y: Array) -> tuple[Array, Array]:
    """Two overlapping discs side by side, each with a dot."""
    side = np.abs(y) - 0.5
    distance = np.hypot(x, side)
    return 0.55 - distance, 0.27 - distance


BADGES: dict[str, tuple[Layers, tuple[float, float, float], tuple[float, float, float]]] = {
    "target": (_target, (0.95, 0.95, 0.95), (0.85, 0.1, 0.1)),
    "cross": (_cross, (0.1, 0.25, 0.75), (0.98, 0.9, 0.2)),
    "star": (_star, (0.98, 0.75, 0.1), (0.55, 0.1, 0.45)),
    "flag": (_flag, (0.08, 0.08, 0.08), (0.95, 0.5, 0.1)),
    "diamond": (_diamond, (0.1, 0.65, 0.3), (0.95, 0.95, 0.95)),
    "eyes": (_eyes, (0.97, 0.97, 0.97), (0.05, 0.05, 0.1)),
}
"""By class: the shape, the colour of its first layer, the colour of the second, which lies on top."""


def paint_badge(name: str, along: Array, across: Array, radius: float) -> tuple[Array, Array]:
    """Paint a badge.

    Args:
        name: Class.
        along, across: (H, W) coordinates of each pixel on the badge, in its radii.
        radius: Of the badge in pixels: scales an edge that is one pixel wide.

    Returns:
        Colours (H, W, 3) in [0, 1] and how much each pixel is covered (H, W) in [0, 1]. A dark line runs round the badge.
    """
    layers, first, second = BADGES[name]
    outer, inner = layers(along, across)
    line, outer, inner = (np.clip(depth * radius + 0.5, 0, 1)[..., None] for depth in (outer + 1.2 / radius, outer, inner))
    colors = np.full(3, 0.12) * (1 - outer) + np.asarray(first) * outer
    return colors * (1 - inner) + np.asarray(second) * inner, line[..., 0]
