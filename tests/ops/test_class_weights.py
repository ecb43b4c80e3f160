"""Foreground shared among classes: against a loop over pixels, and by what must not change."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.class_weights import share_foreground


@pytest.fixture
def probabilities():
    values = np.random.default_rng(2).random((4, 5, 6)).astype(np.float32)
    return values / values.sum(axis=0)


def slow(probabilities, weights, background):
    """The same, a pixel at a time."""
    shared = np.zeros_like(probabilities)
    classes = [k for k in range(len(probabilities)) if k != background]
    for y, x in np.ndindex(*probabilities.shape[1:]):
        pixel = probabilities[:, y, x]
        free = 1 - (pixel[background] if background is not None else 0)
        for k in classes:
            shared[k, y, x] = free * pixel[k] * weights[k] / sum(pixel[j] * weights[j] for j in classes)
        if background is not None:
            shared[background, y, x] = pixel[background]
    return shared


@pytest.mark.parametrize("background", [0, None, 2])
def test_each_class_gets_its_part_of_the_foreground(probabilities, background):
    weights = np.array([0.3, 0.9, 0.0, 0.05])
    before = probabilities.copy()
    shared = share_foreground(probabilities, weights, background)
    assert np.allclose(shared, slow(probabilities, weights, background), atol=1e-6)
    assert np.allclose(shared.sum(axis=0), 1, atol=1e-6)
    assert np.array_equal(probabilities, before)


def test_equal_weights_change_nothing(probabilities):
    assert np.allclose(share_foreground(probabilities, np.full(4, 0.2)), probabilities, atol=1e-6)


def test_the_weight_of_the_background_is_not_read(probabilities):
    one, other = (share_foreground(probabilities, np.array([first, 0.5, 0.1, 0.7])) for first in (0.0, 9.0))
    assert np.array_equal(one, other)


def test_an_image_without_any_class_is_background(probabilities):
    shared = share_foreground(probabilities, np.zeros(4))
    assert np.array_equal(shared, np.eye(4, dtype=np.float32)[0][:, None, None] * np.ones((4, 5, 6)))
    assert np.array_equal(share_foreground(probabilities, np.zeros(4), background=None), probabilities)
