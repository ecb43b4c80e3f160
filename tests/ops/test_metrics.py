from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError
from labelseg.ops.cam import cam_mask
from labelseg.ops.metrics import ConfusionMatrix, EvenMatrix, ThresholdSweep, average_precision, mean_average_precision

CLASSES = 4


def random_labels(rng: np.random.Generator, shape: tuple[int, ...] = (9, 11)) -> np.ndarray:
    return rng.choice([*range(CLASSES), IGNORE], shape).astype(np.uint8)


def iou_by_definition(truth: np.ndarray, prediction: np.ndarray, class_id: int) -> float:
    counted = truth != IGNORE
    is_true, is_predicted = (truth == class_id) & counted, (prediction == class_id) & counted
    return (is_true & is_predicted).sum() / (is_true | is_predicted).sum()


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_iou_follows_its_definition_and_pools_images(seed):
    rng = np.random.default_rng(seed)
    images = [(random_labels(rng), random_labels(rng)) for _ in range(2)]
    matrix, other = ConfusionMatrix(CLASSES), ConfusionMatrix(CLASSES)
    matrix.update(*images[0])
    other.update(*images[1])
    matrix.merge(other)
    truth, prediction = (np.concatenate(arrays) for arrays in zip(*images, strict=True))
    expected = [iou_by_definition(truth, prediction, k) for k in range(CLASSES)]
    np.testing.assert_allclose(matrix.iou(), expected)
    assert matrix.miou() == pytest.approx(np.mean(expected))
    counted = truth != IGNORE
    assert matrix.accuracy() == pytest.approx(np.mean(truth[counted] == prediction[counted]))


def test_the_mean_is_over_classes_of_the_truth():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1]))
    np.testing.assert_allclose(matrix.iou(), [2 / 3, 1, np.nan])
    assert matrix.miou() == pytest.approx((2 / 3 + 1) / 2)
    np.testing.assert_allclose(matrix.recall(), [2 / 3, 1, np.nan])
    np.testing.assert_allclose(matrix.precision(), [1, 1, 0])


def test_pixels_left_out_by_the_prediction_are_misses():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([1, 1, 0, IGNORE]), np.array([1, IGNORE, 0, IGNORE]))
    np.testing.assert_allclose(matrix.iou(), [1, 0.5])
    np.testing.assert_allclose(matrix.precision(), [1, 1])
    assert matrix.accuracy() == pytest.approx(2 / 3)


def test_nothing_counted_gives_nan():
    matrix = ConfusionMatrix(2)
    matrix.update(np.full((2, 2), IGNORE), np.zeros((2, 2), dtype=np.uint8))
    assert math.isnan(matrix.miou())
    assert math.isnan(matrix.accuracy())


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [([0, 2], [0, 0], "truth: value 2"), ([0, 1], [0, 3], "prediction: value 3"), ([0, 1], [0, 0, 0], "shape"), ([0], [-1], "value -1")],
)
def test_values_that_are_no_class_and_other_shapes_are_refused(truth, prediction, message):
    with pytest.raises(DataError, match=message):
        ConfusionMatrix(2).update(np.array(truth), np.array(prediction))


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_sweep_counts_what_the_mask_at_each_threshold_does(seed):
    rng = np.random.default_rng(seed)
    thresholds = np.arange(5) / 4  # scores meet thresholds exactly
    sweep = ThresholdSweep(CLASSES, thresholds)
    matrices = [ConfusionMatrix(CLASSES) for _ in thresholds]
    for class_ids in ([2], [3, 1], [1, 2, 3], []):
        truth, scores = random_labels(rng), rng.integers(0, 9, (len(class_ids), 9, 11)) / np.float32(8)
        sweep.update(scores, class_ids, truth)
        for matrix, threshold in zip(matrices, thresholds, strict=True):
            matrix.update(truth, cam_mask(scores, class_ids, threshold))
    np.testing.assert_array_equal(sweep.counts, [matrix.counts[:, :CLASSES] for matrix in matrices])
    np.testing.assert_allclose(sweep.miou(), [matrix.miou() for matrix in matrices])
    threshold, value = sweep.best()
    assert value == sweep.miou().max()
    assert threshold == thresholds[sweep.miou().argmax()]


def test_merged_sweeps_count_both():
    rng = np.random.default_rng(0)
    images = [(rng.random((2, 9, 11)), [1, 2], random_labels(rng)) for _ in range(2)]
    parts = [ThresholdSweep(CLASSES, [0.2, 0.4]) for _ in range(2)]
    whole = ThresholdSweep(CLASSES, [0.4, 0.2])
    for part, image in zip(parts, images, strict=True):
        part.update(*image)
        whole.update(*image)
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[0].counts, whole.counts)


def test_a_sweep_refuses_values_that_are_no_class_and_other_sizes():
    sweep = ThresholdSweep(2, [0.5])
    with pytest.raises(DataError, match="truth: value 2"):
        sweep.update(np.zeros((1, 2, 2)), [1], np.full((2, 2), 2))
    with pytest.raises(DataError, match="class ids: value 3"):
        sweep.update(np.zeros((1, 2, 2)), [3], np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(DataError, match="size"):
        sweep.update(np.zeros((1, 2, 3)), [1], np.zeros((2, 2), dtype=np.uint8))


def precision_at_each_positive(scores: np.ndarray, targets: np.ndarray) -> float:
    ranks = [scores >= score for score in scores[targets]]
    return float(np.mean([targets[rank].mean() for rank in ranks]))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 30))
def test_average_precision_is_the_mean_precision_at_each_positive(seed, n):
    rng = np.random.default_rng(seed)
    scores, targets = rng.integers(0, 6, n) / 5, rng.random(n) < 0.5
    targets[0] = True
    assert average_precision(scores, targets) == pytest.approx(precision_at_each_positive(scores, targets))


def test_average_precision_of_a_perfect_and_a_reversed_ranking():
    assert average_precision(np.array([0.9, 0.8, 0.1]), np.array([1, 1, 0])) == 1
    assert average_precision(np.array([0.1, 0.2, 0.9]), np.array([1, 1, 0])) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_classes_without_positives_do_not_count():
    scores, targets = np.array([[0.9, 0.1], [0.2, 0.3]]), np.array([[1, 0], [0, 0]])
    assert math.isnan(average_precision(scores[:, 1], targets[:, 1]))
    assert mean_average_precision(scores, targets) == 1
    assert math.isnan(mean_average_precision(scores[:0], targets[:0]))


def test_images_of_any_size_weigh_alike_in_an_even_matrix():
    small, large = np.array([0, 1]), np.repeat([0, 1], 50)
    even = EvenMatrix(2)
    for truth, prediction in ((small, small), (large, np.zeros(100, int))):
        one = ConfusionMatrix(2)
        one.update(truth, prediction)
        even.merge(one)
    even.merge(ConfusionMatrix(2))  # an image of which nothing counts
    assert even.counts.tolist() == [[1.0, 0, 0], [0.5, 0.5, 0]]
    assert even.miou() == pytest.approx((1 / 1.5 + 0.5) / 2)
