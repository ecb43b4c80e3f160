"""Strong colours, against recorded results of the published code and the standard library."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest

from labelseg.data.augment.colour import StrongColours, additive_jitter, scale_contrast, scale_saturation, shift_brightness, turn_hue
from tests.reference_files import load

OPERATIONS = {"brightness": shift_brightness, "contrast": scale_contrast, "saturation": scale_saturation, "hue": turn_hue}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_the_published_code(name):
    v = load("pseudoseg", "color_ops")
    cases = [key for key in v if key.startswith(name)]
    assert len(cases) == 4
    for key in cases:
        found = OPERATIONS[name](v["image"], float(key.rpartition("_")[2]))
        np.testing.assert_allclose(found, v[key], rtol=1e-4, atol=1e-5)


def test_saturation_and_hue_are_those_of_hsv():
    pixels = np.random.default_rng(0).random((1, 200, 3)).astype(np.float32)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = 0.5, 0, (0.2, 0.8, 0.8)  # grey, black, two largest channels
    for index, pixel in enumerate(pixels[0]):
        h, s, v = colorsys.rgb_to_hsv(*map(float, pixel))
        np.testing.assert_allclose(scale_saturation(pixels, 1.7)[0, index], colorsys.hsv_to_rgb(h, min(1, 1.7 * s), v), atol=1e-5)
        np.testing.assert_allclose(turn_hue(pixels, 0.3)[0, index], colorsys.hsv_to_rgb((h + 0.3) % 1, s, v), atol=1e-5)


def test_additive_jitter_of_no_strength_changes_nothing_and_the_seed_decides():
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    before = image.copy()
    np.testing.assert_allclose(additive_jitter(image, np.random.default_rng(1), 0.0).astype(int), image, atol=1)
    one, two, other = (additive_jitter(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("change", "rate"), [("jitter", 0.8), ("grey", 0.2), ("blur", 0.5)])
def test_strong_colours_come_at_the_published_rates(change, rate):
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    published = StrongColours()
    alone = replace(StrongColours(jitter=0, grey=0, blur=0), **{change: getattr(published, change)})
    found = [(alone(image, np.random.default_rng(seed)) != image).any() for seed in range(400)]
    assert np.mean(found) == pytest.approx(rate, abs=0.06)


def test_strong_colours_are_grey_blurred_or_as_they_were():
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    grey = StrongColours(jitter=0, grey=1, blur=0)(image, np.random.default_rng(0))
    assert (grey == grey[..., :1]).all()
    blurred = StrongColours(jitter=0, grey=0, blur=1.0)(image, np.random.default_rng(0))
    assert blurred.std() < image.std()
    np.testing.assert_array_equal(StrongColours(jitter=0, grey=0, blur=0)(image, np.random.default_rng(0)), image)
