"""One crop of an image, shared by all its views and its masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from labelseg.data.augment.transforms import long_side_size

Array = NDArray[Any]

PSEUDOSEG_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


@dataclass(frozen=True)
class Geometry:
    """A size, a window in it and a mirror: what views of one image have in common.

    Attributes:
        size: (H, W) that the image is resized to.
        top, left: Corner of the window.
        crop: Side of the window; beyond the image it is padded, to the right and below.
        mirror: Whether the window is mirrored, at the end.
    """

    size: tuple[int, int]
    top: int
    left: int
    crop: int
    mirror: bool

    def image(self, image: Array) -> Array:
        """Resize bilinearly, with anti-aliasing, and cut the part of the window inside the image: (h, w, 3) uint8."""
        height, width = self.inside
        down, across = image.shape[0] / self.size[0], image.shape[1] / self.size[1]
        box = (self.left * across, self.top * down, (self.left + width) * across, (self.top + height) * down)
        box = (box[0], box[1], min(box[2], image.shape[1]), min(box[3], image.shape[0]))  # rounding may carry the far corner out
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box))

    def mask(self, mask: Array, fill: int) -> Array:
        """Resize a mask (H, W) to the nearest pixels, cut the window, pad with ``fill`` and mirror: (crop, crop)."""
        height, width = self.inside
        rows, columns = (
            np.minimum(((np.arange(start, start + count) + 0.5) * (before / after)).astype(np.int64), before - 1)
            for start, count, before, after in zip((self.top, self.left), (height, width), mask.shape, self.size, strict=True)
        )
        return self.pad(mask[rows[:, None], columns], fill)

    def pad(self, part: Array, fill: Any) -> Array:
        """Pad the part of the window inside the image to the whole window, and mirror it."""
        canvas = np.empty((self.crop, self.crop, *part.shape[2:]), part.dtype)
        canvas[...] = fill
        canvas[: part.shape[0], : part.shape[1]] = part
        return canvas[:, ::-1].copy() if self.mirror else canvas

    @property
    def inside(self) -> tuple[int, int]:
        """(h, w) of the part of the window inside the image."""
        return min(self.crop, self.size[0] - self.top), min(self.crop, self.size[1] - self.left)

    def valid(self) -> NDArray[np.uint8]:
        """1 where the window shows the image, 0 on padding: (crop, crop)."""
        return self.pad(np.ones(self.inside, np.uint8), 0)


@dataclass(frozen=True)
class AnySize:
    """Draws a longer side in [low, high] times that of the image, a window and a mirror.

    Attributes:
        crop: Side of the window.
        low, high: Range of the factor.

    Source: Yang et al. 2023; unimatch.md 1.5.
    """

    crop: int
    low: float = 0.5
    high: float = 2.0

    @property
    def largest(self) -> float:
        """The largest factor."""
        return self.high

    def __call__(self, image: Array, rng: Generator) -> Geometry:
        """Draw for an image (H, W, 3). Draws: the length (a whole number of pixels), row, column, mirror."""
        longest = max(image.shape[:2])
        length = int(rng.integers(int(longest * self.low), int(longest * self.high), endpoint=True))
        return _window(long_side_size((image.shape[0], image.shape[1]), max(1, length)), rng, self.crop)


@dataclass(frozen=True)
class FewSizes:
    """Draws one of a few factors, a window and a mirror.

    Attributes:
        crop: Side of the window.
        factors: What the sides of the image are multiplied by.

    Source: Zou et al. 2021; pseudoseg.md 1.8.
    """

    crop: int
    factors: tuple[float, ...] = PSEUDOSEG_SCALES

    @property
    def largest(self) -> float:
        """The largest factor."""
        return max(self.factors)

    def __call__(self, image: Array, rng: Generator) -> Geometry:
        """Draw for an image (H, W, 3). Draws: the factor, row, column, mirror."""
        factor = self.factors[int(rng.integers(len(self.factors)))]
        height, width = (max(1, round(side * factor)) for side in image.shape[:2])
        return _window((height, width), rng, self.crop)


Draw = AnySize | FewSizes


def _window(size: tuple[int, int], rng: Generator, crop: int) -> Geometry:
    top, left = (int(rng.integers(0, max(0, side - crop), endpoint=True)) for side in size)
    return Geometry(size, top, left, crop, bool(rng.random() < 0.5))
