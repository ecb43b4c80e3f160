"""Pictures of pages, read back."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from labelseg.pages.parts.layers import class_colour, mask_layers, photo_jpeg, score_layers, shrunk_size


def pixels(png):
    return np.array(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_a_class_is_its_colour_where_it_is_and_clear_elsewhere():
    mask = np.array([[0, 1, 1], [255, 2, 1]], np.uint8)
    layers = dict(mask_layers(mask, (2, 3)))
    assert sorted(layers) == [1, 2, 255]
    for k, png in layers.items():
        found = pixels(png)
        np.testing.assert_array_equal(found[..., 3], np.where(mask == k, 255, 0))
        assert {"#{:02x}{:02x}{:02x}".format(*colour) for colour in found[mask == k][:, :3].tolist()} == {class_colour(k)}
    assert [k for k, _ in mask_layers(mask, (2, 3), clear=())] == [0, 1, 2, 255]


def test_the_higher_a_map_the_more_opaque():
    scores = np.array([[[0.0, 0.5, 1.0]], [[1.0, 2.0, np.nan]]], np.float16)
    layers = dict(score_layers(scores, np.array([3, 1]), (1, 3)))
    assert pixels(layers[3])[0, :, 3].tolist() == [0, pytest.approx(128, abs=5), 255]
    assert pixels(layers[1])[0, :, 3].tolist() == [255, 255, 0]
    assert pixels(layers[3])[0, 2, :3].tolist() == [128, 128, 0]


def test_pictures_are_never_larger_than_asked_and_never_enlarged():
    assert [shrunk_size(size, 400) for size in ((800, 400), (30, 40), (1, 9000))] == [(400, 200), (30, 40), (1, 400)]
    mask = np.zeros((80, 60), np.uint8)
    mask[:40] = 1
    assert pixels(mask_layers(mask, (40, 30))[0][1]).shape == (40, 30, 4)
    np.testing.assert_array_equal(
        pixels(mask_layers(mask, (40, 30))[0][1])[..., 3], np.where(np.arange(40) < 20, 255, 0)[:, None].repeat(30, 1)
    )
    assert pixels(score_layers(np.ones((1, 4, 4)), np.array([1]), (40, 30))[0][1]).shape == (4, 4, 4)
    photo = Image.open(io.BytesIO(photo_jpeg(np.full((80, 60, 3), 90, np.uint8), (40, 30))))
    assert (photo.size, photo.format) == ((30, 40), "JPEG")
