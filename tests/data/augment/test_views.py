"""Views of one image share one geometry."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.data.augment.transforms import resize
from labelseg.data.augment.views import PSEUDOSEG_SCALES, AnySize, FewSizes, Geometry
from tests.reference_files import load


def ramp(height, width):
    """An image whose red tells the row and green the column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, rows * 0], axis=2)


def test_a_window_at_the_own_size_is_a_cut():
    image = ramp(20, 30)
    geometry = Geometry((20, 30), 4, 7, 10, False)
    np.testing.assert_array_equal(geometry.image(image), image[4:14, 7:17])
    np.testing.assert_array_equal(geometry.mask(image[..., 0], 255), image[4:14, 7:17, 0])
    assert geometry.valid().min() == 1


def test_padding_lies_to_the_right_and_below_and_the_mirror_comes_last():
    image = ramp(4, 6)
    geometry = Geometry((4, 6), 0, 0, 8, True)
    padded = geometry.pad(geometry.image(image), 9)
    np.testing.assert_array_equal(padded[:4, 2:], image[:, ::-1])
    assert (padded[4:] == 9).all()
    assert (padded[:, :2] == 9).all()
    valid = np.zeros((8, 8), int)
    valid[:4, 2:] = 1
    np.testing.assert_array_equal(geometry.valid(), valid)
    np.testing.assert_array_equal(geometry.mask(image[..., 0], 255) != 255, valid == 1)


@pytest.mark.parametrize("size", [(24, 40), (17, 23)])
def test_a_mask_resized_in_its_window_is_the_window_of_the_resized_mask(size):
    mask = np.random.default_rng(0).integers(0, 9, (20, 31), dtype=np.uint8)
    whole = resize(np.repeat(mask[..., None], 3, 2), size, mask)[1]
    found = Geometry(size, 3, 5, 12, False).mask(mask, 255)
    np.testing.assert_array_equal(found, whole[3:15, 5:17])


def test_image_and_mask_of_a_window_show_the_same_place():
    image = ramp(60, 80)
    for seed in range(20):
        geometry = AnySize(40)(image, np.random.default_rng(seed))
        shown = geometry.pad(geometry.image(image), 255)
        for channel in (0, 1):
            mask = geometry.mask(image[..., channel], 255)
            difference = np.abs(shown[..., channel].astype(int) - mask)[geometry.valid() == 1]
            assert np.percentile(difference, 95) <= 2


def test_sizes_and_windows_are_uniform():
    image = ramp(40, 60)
    drawn = [AnySize(32)(image, np.random.default_rng(seed)) for seed in range(600)]
    lengths = [max(geometry.size) for geometry in drawn]
    assert (min(lengths), max(lengths)) == (30, 120)
    assert np.mean(lengths) == pytest.approx(75, abs=4)
    assert np.mean([geometry.mirror for geometry in drawn]) == pytest.approx(0.5, abs=0.08)
    assert all(g.top + min(32, g.size[0]) <= g.size[0] and g.left + min(32, g.size[1]) <= g.size[1] for g in drawn)


def test_seven_factors_are_drawn_alike_as_in_the_published_code():
    v = load("pseudoseg", "cutout_scale")
    np.testing.assert_allclose(PSEUDOSEG_SCALES, v["scale_values"])
    image = ramp(40, 60)
    factors = [FewSizes(32)(image, np.random.default_rng(seed)).size[0] / 40 for seed in range(int(v["scale_counts"].sum()))]
    counts = [np.isclose(factors, scale).sum() for scale in PSEUDOSEG_SCALES]
    assert sum(counts) == len(factors)
    expected = len(factors) / 7
    for found in (counts, v["scale_counts"]):
        assert ((np.asarray(found) - expected) ** 2 / expected).sum() < 16.8  # 1 % of the chi-square of six degrees
