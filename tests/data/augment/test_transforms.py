"""Augmentations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelseg.data.augment import transforms
from labelseg.data.augment.transforms import CropBox, random_crop_box
from labelseg.models.torchvision_shim import torchvision

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
MASK = np.random.default_rng(1).integers(0, 5, (37, 53), dtype=np.uint8)
sides = st.integers(1, 40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    "augment",
    [
        lambda image, mask, r: transforms.random_long_side_resize(image, 20, 90, r, mask),
        lambda image, mask, r: transforms.random_scale(image, 0.5, 2, r, mask),
        lambda image, mask, r: transforms.random_flip(image, r, mask),
        lambda image, mask, r: transforms.random_crop(image, (30, 70), r, mask)[:2],
        lambda image, mask, r: transforms.center_crop(image, (30, 70), mask),
        lambda image, mask, r: transforms.resize(image, (37, 53), mask),
        lambda image, mask, r: (transforms.color_jitter(image, r), mask.copy()),
        lambda image, mask, r: (transforms.normalize(image).transpose(1, 2, 0), mask.copy()),
    ],
)
def test_results_depend_on_the_seed_alone_and_inputs_stay_unchanged(augment: Callable[..., tuple[Any, Any]]) -> None:
    for seed in range(8):
        image, mask = IMAGE.copy(), MASK.copy()
        image.flags.writeable = mask.flags.writeable = False
        first, second = augment(image, mask, rng(seed)), augment(image, mask, rng(seed))
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
        assert first[0].shape[:2] == first[1].shape
        assert first[0].flags.writeable
        assert not np.shares_memory(first[0], image)
        assert not np.shares_memory(first[1], mask)
        assert set(np.unique(first[1])) <= {0, 1, 2, 3, 4, 255}


def test_a_resized_mask_holds_no_value_between_those_it_had() -> None:
    mask = np.where(MASK > 2, 255, 0).astype(np.uint8)
    for size in ((10, 100), (80, 20)):
        assert np.unique(transforms.resize(IMAGE, size, mask)[1]).tolist() == [0, 255]


def test_the_long_side_covers_its_range_and_the_short_side_follows() -> None:
    shapes = {transforms.random_long_side_resize(IMAGE, 20, 23, rng(seed))[0].shape[:2] for seed in range(60)}
    assert shapes == {(14, 20), (15, 21), (15, 22), (16, 23)}


def test_a_long_thin_image_keeps_at_least_one_pixel() -> None:
    assert transforms.long_side_size((1, 1000), 100) == (1, 100)


def test_both_sides_scale_by_one_factor() -> None:
    for seed in range(20):
        height, width = transforms.random_scale(IMAGE, 0.5, 2, rng(seed))[0].shape[:2]
        assert abs(height / 37 - width / 53) < 0.03
        assert 0.48 < width / 53 < 2.02


def test_a_flip_mirrors_columns_half_of_the_time() -> None:
    flipped = [transforms.random_flip(IMAGE, rng(seed), MASK) for seed in range(200)]
    mirrored = [np.array_equal(image, IMAGE[:, ::-1]) and np.array_equal(mask, MASK[:, ::-1]) for image, mask in flipped]
    kept = [np.array_equal(image, IMAGE) and np.array_equal(mask, MASK) for image, mask in flipped]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130


@settings(deadline=None, derandomize=True)
@given(sides, sides, sides, sides, st.integers(0, 100))
def test_a_crop_shows_the_source_unmoved_and_fills_the_rest(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    source = np.arange(1, height * width + 1).reshape(height, width)
    box = random_crop_box((height, width), (rows, columns), rng(seed))
    crop = box.cut(source, 0)
    assert crop.shape == (rows, columns)
    assert (crop > 0).sum() == min(height, rows) * min(width, columns)
    expected = [
        [source[r - box.pad_top + box.top, c - box.pad_left + box.left] if crop[r, c] else 0 for c in range(columns)] for r in range(rows)
    ]
    np.testing.assert_array_equal(crop, np.array(expected))


def test_every_place_of_a_crop_is_drawn() -> None:
    larger = {(box.top, box.left) for box in (random_crop_box((4, 5), 3, rng(seed)) for seed in range(200))}
    assert larger == {(top, left) for top in range(2) for left in range(3)}
    smaller = {(box.pad_top, box.pad_left) for box in (random_crop_box((2, 1), 3, rng(seed)) for seed in range(200))}
    assert smaller == {(top, left) for top in range(2) for left in range(3)}


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 8), st.integers(0, 100))
def test_an_aligned_crop_of_the_grid_matches_the_crop_of_the_pixels(height: int, width: int, cells: int, seed: int) -> None:
    grid = np.arange(1, -(-height // 8) * -(-width // 8) + 1).reshape(-(-height // 8), -(-width // 8))
    pixels = grid.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    box = random_crop_box((height, width), 8 * cells, rng(seed), align=8)
    np.testing.assert_array_equal(box.cut(pixels, 0)[::8, ::8], box.on_grid(8).cut(grid, 0))


def test_a_crop_side_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of 8"):
        random_crop_box((64, 64), 30, rng(), align=8)


def test_padding_takes_the_fill_of_image_and_mask() -> None:
    image, mask, box = transforms.random_crop(IMAGE, 60, rng(), MASK)
    outside = np.ones((60, 60), bool)
    outside[box.pad_top : box.pad_top + 37, box.pad_left : box.pad_left + 53] = False
    assert (image[outside] == transforms.MEAN_FILL).all()
    assert mask is not None
    assert (mask[outside] == 255).all()
    assert np.abs(transforms.normalize(image)[:, outside]).max() < 0.01


def test_a_center_crop_is_centred() -> None:
    image = np.zeros((9, 5, 3), np.uint8)
    image[4, 2] = 1
    cropped, _ = transforms.center_crop(image, 7, fill=0)
    assert np.argwhere(cropped.any(axis=2)).tolist() == [[3, 3]]
    assert transforms.center_crop_box((9, 5), 7) == CropBox((7, 7), 1, 0, 7, 5, 0, 1)


def test_normalizing_is_value_over_255_minus_mean_over_std() -> None:
    normalized = transforms.normalize(IMAGE, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    expected = ((IMAGE / 255 - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.6, 0.7])).transpose(2, 0, 1)
    assert normalized.dtype == np.float32
    assert normalized.flags.c_contiguous
    np.testing.assert_allclose(normalized, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_jitter_equals_torchvision_with_the_same_draws(seed: int) -> None:
    draws = rng(seed)
    order = draws.permutation(4)
    brightness, contrast, saturation = (draws.uniform(0.6, 1.4) for _ in range(3))
    hue = draws.uniform(-0.2, 0.2)
    adjust = torchvision.transforms.functional
    steps = [
        lambda image: adjust.adjust_brightness(image, brightness),
        lambda image: adjust.adjust_contrast(image, contrast),
        lambda image: adjust.adjust_saturation(image, saturation),
        lambda image: adjust.adjust_hue(image, hue),
    ]
    expected = Image.fromarray(IMAGE)
    for step in order:
        expected = steps[step](expected)
    np.testing.assert_array_equal(transforms.color_jitter(IMAGE, rng(seed), 0.4, 0.4, 0.4, 0.2), np.array(expected))


@pytest.mark.parametrize(("part", "expected"), [({}, (0.6, 0.6, 0.6, 0.6 / 3)), ({"hue_part": 2}, (0.6, 0.6, 0.6, 0.3))])
def test_hue_changes_by_a_part_of_the_other_strengths(part, expected):
    assert transforms.jitter_strengths(0.6, **part) == expected


def test_jitter_of_no_strength_changes_nothing_but_draws_as_much() -> None:
    still, moving = rng(), rng()
    np.testing.assert_array_equal(transforms.color_jitter(IMAGE, still, 0, 0, 0, 0), IMAGE)
    transforms.color_jitter(IMAGE, moving)
    assert still.random() == moving.random()


def test_the_classifier_chain_equals_its_steps() -> None:
    for seed in range(10):
        draws = rng(seed)
        resized, _ = transforms.random_long_side_resize(IMAGE, 40, 120, draws)
        mirrored = draws.random() < 0.5
        cropped, _, box = transforms.random_crop(resized, 64, draws)
        expected = transforms.normalize(cropped[:, ::-1] if mirrored else cropped)
        chained = transforms.augment_for_classifier(IMAGE, rng(seed), (40, 120), 64, jitter=(0, 0, 0, 0))
        inside = np.s_[:, box.pad_top : box.pad_top + box.height, box.pad_left : box.pad_left + box.width]
        shown = expected[:, :, ::-1][inside][:, :, ::-1] if mirrored else expected[inside]
        np.testing.assert_allclose(chained[inside], shown, atol=0.1)
        assert not np.delete(chained.reshape(3, -1), np.flatnonzero(_area(box)), axis=1).any()


def _area(box: CropBox) -> np.ndarray:
    area = np.zeros(box.size, bool)
    area[box.pad_top : box.pad_top + box.height, box.pad_left : box.pad_left + box.width] = True
    return area
