"""Random textures for the built-in scenes: objects, clutter and ground share one family."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


def random_color(rng: Generator, low: float = 0.4, high: float = 0.9) -> Array:
    """Draw an RGB colour in [0, 1] of any hue, moderate saturation and a brightness in [low, high)."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(low, high)), dtype=np.float32)


def smooth_noise(shape: tuple[int, int], cell: float, rng: Generator) -> Array:
    """Draw noise (H, W) float32 in [-1, 1] that varies over about ``cell`` pixels."""
    grid = rng.uniform(-1, 1, size=[int(side / cell) + 2 for side in shape]).astype(np.float32)
    return np.array(Image.fromarray(grid).resize(shape[::-1], Image.Resampling.BICUBIC))


def random_texture(shape: tuple[int, int], rng: Generator, contrast: float = 1.0, color: Array | None = None) -> Array:
    """Draw a texture (H, W, 3) float32 around one colour: stripes, checks, speckles or clouds.

    Args:
        shape: (H, W).
        rng: Source of all choices.
        contrast: How far the second colour lies from the first.
        color: RGB in [0, 1]; drawn when not given.
    """
    first = random_color(rng) if color is None else color
    second = np.clip(first * rng.uniform(0.5, 0.8) + rng.uniform(-0.08, 0.08, 3), 0, 1)
    pattern = _pattern(shape, rng) * contrast
    grain = smooth_noise(shape, rng.uniform(1.5, 3), rng) * 0.03
    texture = first.astype(np.float32) + (second - first).astype(np.float32) * pattern[..., None]
    return texture + grain[..., None]


def _pattern(shape: tuple[int, int], rng: Generator) -> Array:
    """Draw how much of the second colour shows, (H, W) in [0, 1]."""
    kind = rng.integers(4)
    period, angle = rng.uniform(4, 9), rng.uniform(0, np.pi)
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    columns = np.arange(shape[1], dtype=np.float32)
    if kind == 2:  # speckles
        return (smooth_noise(shape, period / 2.5, rng) > 0.25).astype(np.float32)
    if kind == 3:  # clouds
        return 0.5 + 0.5 * smooth_noise(shape, period, rng)
    bend = smooth_noise(shape, 20, rng) * rng.uniform(0, 3)
    along = (columns * np.cos(angle) + rows * np.sin(angle) + bend) * (2 * np.pi / period)
    if kind == 0:  # stripes
        return 0.5 + 0.5 * np.tanh(2.5 * np.sin(along))
    across = (rows * np.cos(angle) - columns * np.sin(angle) + bend) * (2 * np.pi / period)
    return 0.5 + 0.5 * np.tanh(3 * np.sin(along) * np.sin(across))  # checks
