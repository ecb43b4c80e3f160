"""Augmentations of training images.

Arrays in, new arrays out; images are (H, W, 3) uint8, masks (H, W) uint8. Every random function draws from the
generator it is given, always the same number of draws in the order its docstring states: so a sample depends on
the generator's seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from labelseg.class_ids import IGNORE

Array = NDArray[Any]
# A mask goes in and a mask comes out, or None and None; the checker cannot know that the default None is one of the two.
Mask = TypeVar("Mask", Array, None)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The mean of ImageNet in 8 bits: pads with what normalising turns into (nearly) zero.
MEAN_FILL = (124, 116, 104)


def resize(image: Array, size: tuple[int, int], mask: Mask = None) -> tuple[Array, Mask]:  # type: ignore[assignment]
    """Resize an image bicubically and its mask to the nearest neighbour, both to ``size`` = (H, W)."""
    if image.shape[:2] == tuple(size):
        return image.copy(), None if mask is None else mask.copy()
    height, width = size
    resized = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    if mask is None:
        return resized, None
    return resized, np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def long_side_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return the (H, W) whose longer side is ``long_side``, the other rounded, at least 1."""
    scale = long_side / max(size)
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def random_long_side_resize(image: Array, low: int, high: int, rng: Generator, mask: Mask = None) -> tuple[Array, Mask]:  # type: ignore[assignment]
    """Resize so that the longer side is a uniform integer in [low, high]. Draws: the length."""
    size = long_side_size(image.shape[:2], int(rng.integers(low, high, endpoint=True)))
    return resize(image, size, mask)


def random_scale(image: Array, low: float, high: float, rng: Generator, mask: Mask = None) -> tuple[Array, Mask]:  # type: ignore[assignment]
    """Resize both sides by one uniform factor in [low, high). Draws: the factor."""
    factor = rng.uniform(low, high)
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return resize(image, (height, width), mask)


def random_flip(image: Array, rng: Generator, mask: Mask = None, probability: float = 0.5) -> tuple[Array, Mask]:  # type: ignore[assignment]
    """Mirror left and right with a probability. Draws: one number."""
    step = -1 if rng.random() < probability else 1
    return image[:, ::step].copy(), None if mask is None else mask[:, ::step].copy()


@dataclass(frozen=True)
class CropBox:
    """Which rectangle of an array is cut, and where it lands in a canvas of fixed size.

    Attributes:
        size: (H, W) of the canvas.
        top, left, height, width: The rectangle in the source.
        pad_top, pad_left: Where its corner lands in the canvas; the rest of the canvas is filled.
    """

    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    pad_top: int = 0
    pad_left: int = 0

    def cut(self, array: Array, fill: Any) -> Array:
        """Cut (H, W) or (H, W, channels); ``fill`` is a number or one a channel."""
        canvas = np.empty((*self.size, *array.shape[2:]), dtype=array.dtype)
        if (self.height, self.width) != self.size:
            canvas[...] = fill
        rows = slice(self.pad_top, self.pad_top + self.height)
        columns = slice(self.pad_left, self.pad_left + self.width)
        canvas[rows, columns] = array[self.top : self.top + self.height, self.left : self.left + self.width]
        return canvas

    def on_grid(self, stride: int) -> CropBox:
        """The same crop of an array that holds one value for each ``stride`` x ``stride`` pixels (the last ones may be fewer).

        Exact for a box drawn with ``align`` = ``stride``: then no cell is cut apart.
        """
        return CropBox(
            size=(self.size[0] // stride, self.size[1] // stride),
            top=self.top // stride,
            left=self.left // stride,
            height=-(-self.height // stride),
            width=-(-self.width // stride),
            pad_top=self.pad_top // stride,
            pad_left=self.pad_left // stride,
        )


def random_crop_box(source: tuple[int, int], size: int | tuple[int, int], rng: Generator, align: int = 1) -> CropBox:
    """Draw a crop of ``size`` from an array of size ``source``; a shorter side lands at a random place of the canvas.

    Args:
        source: (H, W) of the array.
        size: (H, W) of the crop, or the side of a square; multiples of ``align``.
        rng: Draws: the row, the column.
        align: Places in the source and in the canvas are multiples of this, counted in cells of ``align`` pixels of
            which the source's last may be incomplete.
    """
    size = (size, size) if isinstance(size, int) else size
    (top, height, pad_top), (left, width, pad_left) = (_draw_span(n, m, align, rng) for n, m in zip(source, size, strict=True))
    return CropBox(size, top, left, height, width, pad_top, pad_left)


def center_crop_box(source: tuple[int, int], size: int | tuple[int, int]) -> CropBox:
    """The crop of ``size`` from the middle; a shorter side lands in the middle of the canvas."""
    size = (size, size) if isinstance(size, int) else size
    top, left = (max(0, (n - m) // 2) for n, m in zip(source, size, strict=True))
    pad_top, pad_left = (max(0, (m - n) // 2) for n, m in zip(source, size, strict=True))
    return CropBox(size, top, left, min(source[0], size[0]), min(source[1], size[1]), pad_top, pad_left)


def random_crop(
    image: Array,
    size: int | tuple[int, int],
    rng: Generator,
    mask: Mask = None,  # type: ignore[assignment]
    fill: Any = MEAN_FILL,
    mask_fill: int = IGNORE,
    align: int = 1,
) -> tuple[Array, Mask, CropBox]:
    """Cut a random crop; draws as :func:`random_crop_box`, whose box comes along for other arrays of the same image."""
    box = random_crop_box(image.shape[:2], size, rng, align)
    return box.cut(image, fill), None if mask is None else box.cut(mask, mask_fill), box


def center_crop(
    image: Array,
    size: int | tuple[int, int],
    mask: Mask = None,  # type: ignore[assignment]
    fill: Any = MEAN_FILL,
    mask_fill: int = IGNORE,
) -> tuple[Array, Mask]:
    """Cut the middle, filling up a shorter side."""
    box = center_crop_box(image.shape[:2], size)
    return box.cut(image, fill), None if mask is None else box.cut(mask, mask_fill)


def color_jitter(
    image: Array,
    rng: Generator,
    brightness: float = 0.3,
    contrast: float = 0.3,
    saturation: float = 0.3,
    hue: float = 0.1,
) -> Array:
    """Change brightness, contrast, saturation and hue in random order, as torchvision's ColorJitter does.

    Args:
        image: (H, W, 3) uint8.
        rng: Draws: the order, then a factor in [1 - x, 1 + x] each for brightness, contrast and saturation, then a
            shift in [-hue, hue]; all five always.
        brightness, contrast, saturation: At least 0; 0 leaves the image as it is; the factor is never below 0.
        hue: In [0, 0.5], in turns of the colour circle.
    """
    order = rng.permutation(4)
    factors = [rng.uniform(max(0.0, 1 - x), 1 + x) for x in (brightness, contrast, saturation)]
    shift = rng.uniform(-hue, hue)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    jittered = Image.fromarray(image)
    for step in order:
        if step == 3:
            jittered = _shift_hue(jittered, shift) if hue else jittered
        elif factors[step] != 1:
            jittered = enhancers[step](jittered).enhance(factors[step])
    return np.array(jittered)


def jitter_strengths(strength: float, hue_part: int = 3) -> tuple[float, float, float, float]:
    """Derive the four strengths of :func:`color_jitter` from one: hue changes by a third of it, or by another part.

    Args:
        strength: Of brightness, contrast and saturation; at least 0.
        hue_part: What the strength is divided by for hue, so that the shift stays within half a turn.

    Returns:
        Strengths of brightness, contrast, saturation and hue.
    """
    return strength, strength, strength, strength / hue_part


def normalize(
    image: Array,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> NDArray[np.float32]:
    """Turn an image (H, W, 3) uint8 into (3, H, W) float32: (value / 255 - mean) / std for each channel."""
    levels = np.arange(256, dtype=np.float64) / 255
    tables = [((levels - m) / s).astype(np.float32) for m, s in zip(mean, std, strict=True)]
    return np.stack([table[image[..., channel]] for channel, table in enumerate(tables)])


def augment_for_classifier(
    image: Array,
    rng: Generator,
    long_side: tuple[int, int] = (256, 512),
    crop: int = 448,
    jitter: tuple[float, float, float, float] = (0.3, 0.3, 0.3, 0.1),
) -> NDArray[np.float32]:
    """Resize, mirror, crop, jitter and normalise an image for training a classifier from tags.

    Only the pixels of the crop are computed; so contrast is changed around the mean of the crop, not of the image.

    Args:
        image: (H, W, 3) uint8.
        rng: Draws: the length, the mirroring, the row and column of the crop, those of color_jitter.
        long_side: Range of the longer side.
        crop: Side of the result; a smaller image lands at a random place on zeros (the mean colour).
        jitter: Strengths for :func:`color_jitter`.

    Returns:
        (3, crop, crop) float32.

    Source: Ahn & Kwak 2018, published training code; differs by jittering the crop.
    """
    size = long_side_size(image.shape[:2], int(rng.integers(*long_side, endpoint=True)))
    step = -1 if rng.random() < 0.5 else 1
    box = random_crop_box(size, crop, rng)
    jittered = color_jitter(_resize_part(image, size, box), rng, *jitter)
    result = np.zeros((3, crop, crop), dtype=np.float32)
    result[:, box.pad_top : box.pad_top + box.height, box.pad_left : box.pad_left + box.width] = normalize(jittered[:, ::step])
    return result


def _draw_span(source: int, size: int, align: int, rng: Generator) -> tuple[int, int, int]:
    """Draw (start, length, padding in front) of a crop along one axis."""
    if size % align:
        raise ValueError(f"crop side {size} is no multiple of {align}")
    spare = -(-source // align) - size // align  # cells
    place = int(rng.integers(0, abs(spare), endpoint=True)) * align
    if spare >= 0:
        return place, min(size, source - place), 0
    return 0, source, place


def _resize_part(image: Array, size: tuple[int, int], box: CropBox) -> Array:
    """Resize to ``size`` bicubically, but compute only the rectangle of ``box``."""
    down, across = image.shape[0] / size[0], image.shape[1] / size[1]
    part = (box.left * across, box.top * down, (box.left + box.width) * across, (box.top + box.height) * down)
    # Rounding may carry the far corner out of the image by one unit in the last place, which Pillow refuses.
    part = (part[0], part[1], min(part[2], image.shape[1]), min(part[3], image.shape[0]))
    return np.array(Image.fromarray(image).resize((box.width, box.height), Image.Resampling.BICUBIC, box=part))


def _shift_hue(image: Image.Image, shift: float) -> Image.Image:
    """Turn the colour circle of an RGB image by ``shift`` turns."""
    hue, saturation, value = image.convert("HSV").split()
    offset = int(shift * 255)
    turned = hue.point([(level + offset) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
