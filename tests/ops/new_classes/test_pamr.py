from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.ops.new_classes.pamr import pamr, pamr_weights
from tests.recorded import close, wilson_tensors

CASES = ("wilson", "default24", "resize", "small")


def slow_weights(image, dilations):
    """The definition, pixel by pixel, for one image (3, H, W)."""
    _, height, width = image.shape
    weights = np.zeros((8 * len(dilations), height, width))
    for y, x in np.ndindex(height, width):
        patches, neighbours = [], []
        for dilation in dilations:
            for dy in (-dilation, 0, dilation):
                for dx in (-dilation, 0, dilation):
                    value = image[:, np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
                    patches.append(value)
                    if dy or dx:
                        neighbours.append(value)
        deviation = np.std(patches, axis=0, ddof=1)
        likeness = np.array([np.mean(-np.abs(image[:, y, x] - n) / (1e-8 + 0.1 * deviation)) for n in neighbours])
        exponentials = np.exp(likeness - likeness.max())
        weights[:, y, x] = exponentials / exponentials.sum()
    return weights


@pytest.mark.parametrize("case", CASES)
def test_refined_masks_are_those_of_the_published_code(case):
    recorded = wilson_tensors("03_pamr")
    dilations = recorded[f"{case}_dilations"].tolist()
    refined = pamr(recorded[f"{case}_x"], recorded[f"{case}_mask"], int(recorded[f"{case}_num_iter"]), dilations)
    close(refined, recorded[f"{case}_out"], 1e-4)


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_published_code(case):
    recorded = wilson_tensors("03_pamr")
    close(pamr_weights(recorded[f"{case}_x"], recorded[f"{case}_dilations"].tolist()), recorded[f"{case}_aff"][:, 0], 1e-4)


def test_weights_follow_their_definition():
    image = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = pamr_weights(image, (1, 3))
    for found, one in zip(weights, image, strict=True):
        np.testing.assert_allclose(found, slow_weights(one.numpy(), (1, 3)), rtol=1e-9)


def test_one_iteration_averages_the_neighbours():
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 4, 5, dtype=torch.float64, generator=generator)
    scores = torch.rand(1, 2, 4, 5, dtype=torch.float64, generator=generator)
    weights, refined = slow_weights(image[0].numpy(), (1,)), pamr(image, scores, 1, (1,))
    for c, y, x in np.ndindex(2, 4, 5):
        around = [float(scores[0, c, min(max(y + dy, 0), 3), min(max(x + dx, 0), 4)]) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        assert float(refined[0, c, y, x]) == pytest.approx(np.dot(weights[:, y, x], around))


@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_scores_stay_between_their_extremes_and_a_constant_stays(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, height, width, generator=generator)
    scores = torch.rand(1, 2, height, width, generator=generator)
    refined = pamr(image, torch.cat([scores, torch.full_like(scores, 0.25)], dim=1))
    assert refined[:, :2].min() >= scores.min() - 1e-5
    assert refined[:, :2].max() <= scores.max() + 1e-5
    torch.testing.assert_close(refined[:, 2:], torch.full_like(scores, 0.25))


def test_images_of_a_batch_do_not_meet():
    generator = torch.Generator().manual_seed(2)
    image, scores = torch.rand(3, 3, 6, 6, generator=generator), torch.rand(3, 4, 6, 6, generator=generator)
    together = pamr(image, scores)
    torch.testing.assert_close(together[1:2], pamr(image[1:2], scores[1:2]))


def test_a_flat_image_gives_finite_scores():
    assert torch.isfinite(pamr(torch.full((1, 3, 5, 5), 0.5), torch.rand(1, 2, 5, 5))).all()
