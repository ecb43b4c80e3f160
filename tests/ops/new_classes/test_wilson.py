from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelseg.class_ids import IGNORE
from labelseg.ops.new_classes.wilson import (
    balanced_cross_entropy,
    classification_loss,
    compose_target,
    dense_loss,
    feature_loss,
    grow_classifier,
    hard_masks,
    one_hot,
    pool_scores,
    present_scores,
    prior_loss,
    seed_masks,
    segmentation_loss,
    soft_labels,
    softmax_as_sigmoid,
    weighted_pooling,
)
from tests.recorded import close, wilson_tensors


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def bce(logit, target):
    return -(target * math.log(sigmoid(logit)) + (1 - target) * math.log(1 - sigmoid(logit)))


@pytest.mark.parametrize("case", ["rand", "smooth", "peaked", "const", "one_px"])
def test_pooled_scores_and_gradients_are_those_of_the_published_code(case):
    recorded = wilson_tensors("01_ngwp_focal")
    logits = recorded[f"{case}_z"].requires_grad_()
    pooled = pool_scores(logits)
    close(pooled, recorded[f"{case}_y"])
    close(weighted_pooling(logits), recorded[f"{case}_y_ngwp_only"])
    (pooled * recorded[f"{case}_r"]).sum().backward()
    close(logits.grad, recorded[f"{case}_grad_z"])


def test_pooling_follows_its_definition():
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = logits[0].reshape(3, 4).numpy()
    m = np.exp(z) / np.exp(z).sum(axis=0)
    for c in range(3):
        area = m[c].mean()
        expected = (m[c] * z[c]).sum() / (1 + m[c].sum()) + (1 - area) ** 3 * math.log(0.01 + area)
        assert float(pool_scores(logits)[0, c]) == pytest.approx(expected)


@pytest.mark.parametrize("case", ["v15_5", "v10_10", "all20", "coco", "single"])
def test_the_classification_loss_is_that_of_the_published_code(case):
    recorded = wilson_tensors("02_l_cls")
    logits = recorded[f"{case}_z"].requires_grad_()
    loss = classification_loss(logits, recorded[f"{case}_labels"])
    close(loss, recorded[f"{case}_ngwp_mean"])
    loss.backward()
    close(logits.grad, recorded[f"{case}_ngwp_mean_grad_z"])


def test_the_prior_loss_follows_its_definition():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, 3, 1, 2, dtype=torch.float64, generator=generator)
    old = torch.randn(1, 2, 1, 2, dtype=torch.float64, generator=generator)
    expected = np.mean([bce(float(z[0, c, 0, i]), sigmoid(float(old[0, c, 0, i]))) for c in range(2) for i in range(2)])
    assert float(prior_loss(z, old)) == pytest.approx(expected)


def test_the_feature_loss_is_a_mean_over_all_elements():
    assert float(feature_loss(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]]))) == 2.0


@pytest.mark.parametrize("case", ["wilson", "ss_default", "not_ambiguous", "low"])
def test_seeds_are_those_of_the_published_code(case):
    recorded = wilson_tensors("04_pseudo_gtmask")
    shares = tuple(recorded[f"{case}_cut"].tolist())
    seeds = seed_masks(recorded[f"{case}_mask"], shares, bool(recorded[f"{case}_amb"]))
    assert torch.equal(seeds, recorded[f"{case}_out"].float())


def test_a_score_on_the_threshold_is_no_seed():
    scores = torch.tensor([[[[1.0, 0.7]], [[0.2, 0.1]]]])
    assert seed_masks(scores).tolist() == [[[[1.0, 0.0]], [[0.0, 0.0]]]]


@pytest.mark.parametrize("alpha", ["0.0", "0.3", "0.5", "0.7", "0.9", "1.0"])
def test_hard_and_soft_labels_are_those_of_the_published_code(alpha):
    recorded = wilson_tensors("05_hard_soft_labels")
    masked = present_scores(recorded["softmax"], recorded["labels"])
    assert torch.equal(masked, recorded["masked"])
    assert torch.equal(hard_masks(masked), recorded["hard"].float())
    close(soft_labels(masked, float(alpha)), recorded[f"q_alpha_{alpha}"])


def test_a_tie_marks_several_classes():
    recorded = wilson_tensors("05_hard_soft_labels")
    assert torch.equal(hard_masks(recorded["tie_in"]), recorded["tie_hard"])


@pytest.mark.parametrize("case", ["same", "up2"])
def test_the_balanced_loss_is_that_of_the_published_code(case):
    recorded = wilson_tensors("06_balanced_ce")
    logits, seeds = recorded[f"{case}_z"].requires_grad_(), recorded[f"{case}_pseudo_gt"].float()
    found = balanced_cross_entropy(logits, seeds, recorded[f"{case}_labels"])
    close(found.loss, recorded[f"{case}_loss"])
    found.loss.backward()
    close(logits.grad, recorded[f"{case}_grad_z"])
    assert not logits.grad[1].any()  # the image in which a present class has no pixel


def test_the_target_takes_the_lower_background_and_the_old_classes_as_they_were():
    old = torch.logit(torch.tensor([0.3, 0.9])).reshape(1, 2, 1, 1)
    soft = torch.tensor([0.6, 0.0, 0.8]).reshape(1, 3, 1, 1)
    assert compose_target(soft, old).flatten().tolist() == pytest.approx([0.3, 0.9, 0.8])
    assert compose_target(soft, old, 0.25).flatten().tolist() == pytest.approx([0.75 * 0.3 + 0.25 * 0.6, 0.9, 0.8])


def test_an_image_whose_present_class_wins_no_pixel_does_not_train_the_segmenter():
    logits, labels = torch.zeros(2, 3, 1, 2), torch.ones(2, 1)
    soft = torch.tensor([[[1.0, 0.0], [0, 0], [0, 1.0]], [[1.0, 1.0], [0, 0], [0, 0]]])[:, :, None]
    found = segmentation_loss(logits, soft, soft, labels)
    assert float(found.gate) == 0.5
    assert float(found.loss) == pytest.approx(3 * math.log(2) / (1 + 1e-5))


def test_an_image_in_which_an_absent_class_wins_a_pixel_does_not_train_the_segmenter():
    soft = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])[:, :, None, None]
    assert float(segmentation_loss(torch.zeros(2, 3, 1, 1), soft, soft, torch.zeros(2, 1)).gate) == 0.5


def test_an_image_without_a_present_class_counts():
    soft = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert float(segmentation_loss(torch.zeros(1, 3, 1, 1), soft, soft, torch.zeros(1, 1)).gate) == 1.0


def test_the_dense_loss_and_its_gradient_are_those_of_the_published_code():
    recorded = wilson_tensors("08_step0_and_mib_losses")
    logits = recorded["z"].requires_grad_()
    loss = dense_loss(logits, recorded["y"])
    close(loss, recorded["bce_train_scalar"])
    loss.backward()
    close(logits.grad, recorded["bce_train_grad"])


def test_one_hot_of_an_unknown_pixel_is_zero():
    assert one_hot(torch.tensor([[[1, IGNORE]]]), 2).tolist() == [[[[0.0, 0.0]], [[1.0, 0.0]]]]


def test_a_sigmoid_of_turned_logits_is_the_softmax():
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(softmax_as_sigmoid(logits).sigmoid(), logits.softmax(dim=1))


def test_a_balanced_classifier_is_that_of_the_published_code():
    recorded = wilson_tensors("13_head_growth")
    weight = torch.cat([recorded["old.cls.0.weight"], recorded["old.cls.1.weight"]])
    bias = torch.cat([recorded["old.cls.0.bias"], recorded["old.cls.1.bias"]])
    weight, bias = grow_classifier(weight, bias, 5, balanced=True)
    close(torch.nn.functional.conv2d(recorded["x"], weight, bias), recorded["y_balanced"])


def test_a_random_classifier_keeps_the_old_channels_and_begins_as_a_new_layer():
    recorded = wilson_tensors("13_head_growth")
    old_weight = torch.cat([recorded["old.cls.0.weight"], recorded["old.cls.1.weight"]])
    old_bias = torch.cat([recorded["old.cls.0.bias"], recorded["old.cls.1.bias"]])
    torch.manual_seed(0)
    weight, bias = grow_classifier(old_weight, old_bias, 5)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(8, 5, 1)
    assert torch.equal(weight[16:], layer.weight) and torch.equal(bias[16:], layer.bias)
    close(torch.nn.functional.conv2d(recorded["x"], weight[:16], bias[:16]), recorded["y_old"])
    assert float(recorded["new.cls.2.weight"].abs().max()) <= 1 / math.sqrt(8)  # the range of a new layer
    assert float(weight[16:].abs().max()) <= 1 / math.sqrt(8)
