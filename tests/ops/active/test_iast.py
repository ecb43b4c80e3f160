from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.class_ids import IGNORE
from labelseg.ops.active.iast import (
    carry_thresholds,
    confident_labels,
    confident_share,
    divergence_from_uniform,
    entropy_of_ignored,
)
from tests.reference_files import load


def softmax(rng, *shape):
    exponentials = np.exp(2 * rng.standard_normal(shape))
    return exponentials / exponentials.sum(axis=0)


def slow_percentile(samples, share):
    """The value below which a share of the samples lies, between neighbours in order."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = int(np.floor(place))
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def slow_thresholds(thresholds, images, alpha, beta, gamma):
    """The definition, pixel by pixel."""
    samples = [[threshold] for threshold in thresholds]
    for image in images:
        for column in image.reshape(len(image), -1).T:
            k = max(range(len(column)), key=lambda j: (column[j], -j))
            samples[k].append(float(np.float16(column[k])))
    moved = [beta * t + (1 - beta) * slow_percentile(found, 1 - alpha * t**gamma) for t, found in zip(thresholds, samples, strict=True)]
    return [0.999 if value >= 1 else value for value in moved]


@pytest.mark.parametrize(("name", "alpha", "gamma"), [("out_a02_g8", 0.2, 8), ("out_a05_g1", 0.5, 1)])
def test_confidences_that_move_thresholds_are_those_of_the_published_code(name, alpha, gamma):
    recorded = load("labor", "A1_iast_thresh_unit")
    found = [confident_share(recorded[f"conf_{k}"], recorded["w"][k], alpha, gamma) for k in range(6)]
    np.testing.assert_allclose(found, recorded[name], atol=1e-7, rtol=0)


def test_without_thresholds_the_published_code_takes_a_share_of_a_fifth():
    recorded = load("labor", "A1_iast_thresh_unit")
    found = [confident_share(recorded[f"conf_{k}"], 1.0, 0.2, 1) for k in range(6)]
    np.testing.assert_allclose(found, recorded["out_default_w"], atol=1e-7, rtol=0)


@pytest.mark.parametrize("alpha", [0.2, 0.3])
def test_thresholds_follow_their_definition(alpha):
    rng = np.random.default_rng(0)
    images = [softmax(rng, 5, 6, 7), softmax(rng, 5, 4, 9)]
    before = np.array([0.9, 0.7, 0.99, 0.4, 0.9])
    found = carry_thresholds(before, images, alpha)
    np.testing.assert_allclose(found, slow_thresholds(before.tolist(), images, alpha, 0.9, 8.0), rtol=1e-12)
    assert before.tolist() == [0.9, 0.7, 0.99, 0.4, 0.9]


def test_a_class_that_is_nowhere_keeps_its_threshold():
    image = np.stack([np.full((3, 3), 0.8), np.full((3, 3), 0.2)])
    found = carry_thresholds(np.array([0.9, 0.9]), [image], 0.2)
    assert found[0] < 0.9
    assert found[1] == pytest.approx(0.9, abs=1e-15)


def test_thresholds_stay_below_one():
    image = np.stack([np.ones((4, 4)), np.zeros((4, 4))])
    assert carry_thresholds(np.array([1.0, 0.9]), [image], 0.2)[0] == 0.999


def test_two_images_at_once_are_another_group_than_one_after_the_other():
    rng = np.random.default_rng(1)
    one, two = softmax(rng, 3, 8, 8), softmax(rng, 3, 8, 8)
    start = np.full(3, 0.9)
    together = carry_thresholds(start, [one, two], 0.2)
    apart = carry_thresholds(carry_thresholds(start, [one], 0.2), [two], 0.2)
    assert np.abs(together - apart).max() > 1e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_are_the_most_probable_class_where_that_reaches_its_threshold(seed):
    rng = np.random.default_rng(seed)
    image, thresholds = softmax(rng, 4, 5, 6), rng.uniform(0.2, 0.9, 4)
    labels = confident_labels(image, thresholds)
    for y, x in np.ndindex(5, 6):
        k = image[:, y, x].argmax()
        assert labels[y, x] == (k if image[k, y, x] >= thresholds[k] else IGNORE)


def test_a_confidence_of_exactly_the_threshold_is_enough():
    assert confident_labels(np.array([[[0.75]], [[0.25]]]), np.array([0.75, 0.1]))[0, 0] == 0


@pytest.mark.parametrize(
    ("term", "value", "gradient"),
    [(entropy_of_ignored, "entropy_on_ignored", "grad_entropy"), (divergence_from_uniform, "kld_on_labelled", "grad_kld")],
)
def test_regularisers_are_those_of_the_published_code(term, value, gradient):
    recorded = load("labor", "A1_iast_regularisers")
    logits = torch.from_numpy(recorded["logits"]).requires_grad_()
    found = term(logits, torch.from_numpy(recorded["label"]))
    found.backward()
    np.testing.assert_allclose(found.item(), recorded[value], atol=1e-6)
    np.testing.assert_allclose(logits.grad, recorded[gradient], atol=1e-7)


@pytest.mark.parametrize(("term", "fill"), [(entropy_of_ignored, 1), (divergence_from_uniform, IGNORE)])
def test_a_regulariser_without_pixels_is_zero(term, fill):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    found = term(logits, torch.full((1, 4, 4), fill))
    found.backward()
    assert found.item() == 0
    assert not logits.grad.any()
