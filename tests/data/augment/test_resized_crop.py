from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelseg.data.augment import resized_crop
from labelseg.data.augment.resized_crop import random_resized_crop, short_side_crop


def ramp(height, width):
    """An image whose first channels tell row and column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, rows], axis=2)


def test_crops_have_between_half_and_all_of_the_area_and_bounded_shape():
    image = ramp(120, 160)
    areas = []
    for seed in range(60):
        crop, _ = random_resized_crop(image, 32, np.random.default_rng(seed))
        down, across = np.ptp(crop[..., 0].astype(int)) * 32 / 31, np.ptp(crop[..., 1].astype(int)) * 32 / 31
        areas.append(down * across / (120 * 160))
        assert 0.7 < across / down < 1.4
    assert 0.42 < min(areas) < 0.6 and 0.8 < max(areas) <= 1.05


def test_a_mask_is_cut_at_the_same_place():
    image = ramp(50, 70)
    crop, mask = random_resized_crop(image, 24, np.random.default_rng(3), image[..., 1])
    assert np.abs(crop[..., 1].astype(int) - mask).max() <= 3


def test_an_image_too_long_for_any_shape_gives_its_middle():
    crop, _ = random_resized_crop(ramp(10, 200), 16, np.random.default_rng(0))
    columns = crop[..., 1].astype(int)
    assert columns.min() >= 93 and columns.max() <= 107 and np.ptp(crop[..., 0]) >= 8


def test_the_same_generator_gives_the_same_crop():
    first, second = (random_resized_crop(ramp(60, 50), 20, np.random.default_rng(7))[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [(100, 160), (160, 100), (64, 64)])
def test_the_published_crop_is_the_middle_square_of_the_resized_image(size):
    image = ramp(*size)
    crop, mask = short_side_crop(image, image[..., 0], 64)
    assert crop.shape == (64, 64, 3) and mask.shape == (64, 64)
    height, width = (round(side * 64 / min(size)) for side in size)
    resized = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    top, left = (height - 64) // 2, (width - 64) // 2
    assert np.abs(resized[top : top + 64, left : left + 64].astype(int) - crop).max() <= 2


def test_of_a_strip_only_the_middle_is_enlarged(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (21, 60, 3), dtype=np.uint8)
    whole = short_side_crop(image, image[..., 0], 48)
    monkeypatch.setattr(resized_crop, "_THIN", 1)
    middle = short_side_crop(image, image[..., 0], 48)
    assert np.abs(whole[0].astype(int) - middle[0]).max() <= 2
    assert (whole[1] == middle[1]).mean() > 0.97
    monkeypatch.undo()
    crop, mask = short_side_crop(np.zeros((1, 50_000, 3), np.uint8), np.ones((1, 50_000), np.uint8), 512)
    assert crop.shape == (512, 512, 3)
    assert (mask == 1).all()
