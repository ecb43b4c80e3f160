"""Strong changes of colour: those of PseudoSeg, on images in [0, 1], and those of UniMatch, on 8-bit images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from labelseg.data.augment.transforms import color_jitter, jitter_strengths

Pixels = NDArray[np.float32]


def shift_brightness(image: Pixels, delta: float) -> Pixels:
    """Add ``delta`` to (H, W, 3)."""
    return image + np.float32(delta)


def scale_contrast(image: Pixels, factor: float) -> Pixels:
    """Scale the distance of each channel of (H, W, 3) from its mean."""
    mean = image.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return (image - mean) * np.float32(factor) + mean


def scale_saturation(image: Pixels, factor: float) -> Pixels:
    """Scale the HSV saturation of (H, W, 3) in [0, 1], up to 1; hue and value stay.

    All distances from the largest channel grow by one factor, so the colour circle need not be entered.
    """
    value = image.max(axis=2, keepdims=True)
    chroma = value - image.min(axis=2, keepdims=True)
    largest = np.divide(value, chroma, out=np.zeros_like(value), where=chroma > 0)
    return value - (value - image) * np.minimum(np.float32(factor), largest)


def turn_hue(image: Pixels, turns: float) -> Pixels:
    """Turn the HSV hue of (H, W, 3) in [0, 1]; saturation and value stay."""
    red, green, blue = np.moveaxis(image, 2, 0)
    value = image.max(axis=2)
    chroma = value - image.min(axis=2)
    safe = np.where(chroma > 0, chroma, np.float32(1))
    sixth = np.where(value == red, (green - blue) / safe, np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4))
    sixth += np.float32(6 * turns)
    turned = np.empty_like(image)
    for channel, start in enumerate((5, 3, 1)):
        place = (sixth + np.float32(start)) % np.float32(6)
        turned[..., channel] = value - chroma * np.clip(np.minimum(place, 4 - place), 0, 1)
    return turned


def additive_jitter(image: NDArray[np.uint8], rng: Generator, strength: float = 1.0) -> NDArray[np.uint8]:
    """Change brightness, contrast, saturation and hue in random order, clipping to [0, 1] after each.

    Args:
        image: (H, W, 3) uint8.
        rng: Draws: the order, then brightness in [-0.5, 0.5], contrast and saturation in [0.5, 1.5], hue in [-0.25, 0.25] turns.
        strength: Scales all four ranges; at least 0.

    Returns:
        (H, W, 3) uint8.

    Source: Zou et al. 2021; pseudoseg.md 1.8. Brightness is added and contrast is about the mean of each channel, unlike
        ``color_jitter``. The mean is that of what is given, which in training is the crop.
    """
    order = rng.permutation(4)
    delta = strength * rng.uniform(-0.5, 0.5)
    contrast, saturation = (max(0.0, 1 + strength * rng.uniform(-0.5, 0.5)) for _ in range(2))
    turns = strength * rng.uniform(-0.25, 0.25)
    steps = (
        lambda pixels: shift_brightness(pixels, delta),
        lambda pixels: scale_contrast(pixels, contrast),
        lambda pixels: scale_saturation(pixels, saturation),
        lambda pixels: turn_hue(pixels, turns),
    )
    pixels = image.astype(np.float32) / np.float32(255)
    for step in order:
        pixels = np.clip(steps[step](pixels), 0, 1)
    return np.round(pixels * 255).astype(np.uint8)


@dataclass(frozen=True)
class StrongColours:
    """Colour jitter, now and then grey, now and then blurred.

    Attributes:
        strength: Of brightness, contrast and saturation; half of it for hue.
        jitter, grey, blur: Probabilities.

    Source: Yang et al. 2023; unimatch.md 1.5.
    """

    strength: float = 0.5
    jitter: float = 0.8
    grey: float = 0.2
    blur: float = 0.5

    def __call__(self, image: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
        """Change an image (H, W, 3). Draws: three numbers, the radius of the blur, then those of color_jitter where that is applied."""
        chances, radius = rng.random(3), rng.uniform(0.1, 2.0)
        changed = image
        if chances[0] < self.jitter:
            changed = color_jitter(changed, rng, *jitter_strengths(self.strength, hue_part=2))
        if chances[1] < self.grey:
            changed = np.array(Image.fromarray(changed).convert("L").convert("RGB"))
        if chances[2] < self.blur:
            changed = np.array(Image.fromarray(changed).filter(ImageFilter.GaussianBlur(radius)))
        return changed
