"""Losses of UniMatch, alone and as one training step, against recorded results of the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from labelseg.ops.class_weights import share_foreground
from labelseg.ops.few_masks.unimatch import (
    PseudoLabel,
    box_masks,
    combine,
    complementary_masks,
    confident_loss,
    confident_share,
    ohem_loss,
    paste_images,
    pseudo_label,
    share_by_tags,
    trust_class_shares,
)
from labelseg.ops.losses import cross_entropy
from labelseg.ops.metrics import ConfusionMatrix
from labelseg.ops.windows import sum_over_windows, window_spans
from labelseg.training.schedules import delayed_polynomial, teacher_ratio
from tests.reference_files import load

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
STREAMS = ("x", "u_w", "u_w_fp", "u_s1", "u_s2", "mix")


class Step:
    """The published training step from recorded logits, built of our operations."""

    def __init__(self, name):
        v = load("unimatch", name)
        self.logits = {stream: torch.from_numpy(v[f"in_logits_{stream}"]).requires_grad_(True) for stream in STREAMS}
        self.threshold = float(v["conf_thresh"])
        images = {key: torch.from_numpy(v[f"in_img_u_{key}"]) for key in ("s1", "s2", "s1_mix", "s2_mix")}
        boxes = [torch.from_numpy(v[f"in_cutmix_box{k}"]) == 1 for k in (1, 2)]
        self.images = [paste_images(images[f"s{k}"], images[f"s{k}_mix"], boxes[k - 1]) for k in (1, 2)]
        self.weak = pseudo_label(self.logits["u_w"], torch.from_numpy(v["in_ignore_mask"]) != 255)
        self.partner = pseudo_label(self.logits["mix"], torch.from_numpy(v["in_ignore_mask_mix"]) != 255)
        self.targets = [self.weak.pasted(self.partner, box) for box in boxes]
        self.losses = {
            "loss_x": cross_entropy(self.logits["x"], torch.from_numpy(v["in_mask_x"])),
            "loss_u_s1": confident_loss(self.logits["u_s1"], self.targets[0], self.threshold),
            "loss_u_s2": confident_loss(self.logits["u_s2"], self.targets[1], self.threshold),
            "loss_u_w_fp": confident_loss(self.logits["u_w_fp"], self.weak, self.threshold),
        }
        loss_x, strong1, strong2, perturbed = self.losses.values()
        self.losses["loss"] = combine(loss_x, [strong1, strong2], perturbed)


@pytest.fixture(params=["losses_pascal", "losses_noneconf"])
def name(request):
    return request.param


def test_pseudo_labels_and_cutmix_are_those_of_the_published_code(name):
    v, step = load("unimatch", name), Step(name)
    for key, found in (("u_w", step.weak), ("u_w_mix", step.partner)):
        np.testing.assert_allclose(found.confidence, v[f"out_conf_{key}"], **TOLERANCE)
        np.testing.assert_array_equal(found.label, v[f"out_mask_{key}"])
    for k in (1, 2):
        found = step.targets[k - 1]
        np.testing.assert_array_equal(step.images[k - 1], v[f"out_img_u_s{k}_out"])
        np.testing.assert_array_equal(found.label, v[f"out_mask_u_w_cutmixed{k}"])
        np.testing.assert_allclose(found.confidence, v[f"out_conf_u_w_cutmixed{k}"], **TOLERANCE)
        np.testing.assert_array_equal(found.valid, v[f"out_ignore_mask_cutmixed{k}"] != 255)


def test_losses_are_those_of_the_published_code(name):
    v, step = load("unimatch", name), Step(name)
    for key, loss in step.losses.items():
        np.testing.assert_allclose(loss.item(), v[f"out_{key}"], **TOLERANCE)
    np.testing.assert_allclose(float(confident_share(step.weak, step.threshold)), v["out_mask_ratio"], rtol=1e-6)


def test_gradients_are_those_of_the_published_code(name):
    v, step = load("unimatch", name), Step(name)
    step.losses["loss"].backward()
    for stream in ("x", "u_w_fp", "u_s1", "u_s2"):
        np.testing.assert_allclose(step.logits[stream].grad, v[f"out_grad_{stream}"], rtol=1e-4, atol=1e-8)
    for stream in ("u_w", "mix"):
        assert step.logits[stream].grad is None
        assert v[f"out_gradabs_{stream}"] == 0


@pytest.mark.parametrize("name", ["losses_pascal_small", "losses_noneconf_small"])
def test_gradients_at_every_third_pixel_are_those_of_the_published_code(name):
    v = load("unimatch", name)
    logits = {stream: torch.from_numpy(v[f"in_logits_{stream}"]).requires_grad_(True) for stream in STREAMS}
    weak = pseudo_label(logits["u_w"], torch.from_numpy(v["in_ignore_mask"]) != 255)
    partner = pseudo_label(logits["mix"], torch.from_numpy(v["in_ignore_mask_mix"]) != 255)
    pasted = [weak.pasted(partner, torch.from_numpy(v[f"in_cutmix_box{k}"]) == 1) for k in (1, 2)]
    for found, key in zip((weak, partner, *pasted), ("u_w", "u_w_mix", "u_w_cutmixed1", "u_w_cutmixed2"), strict=True):
        np.testing.assert_array_equal(found.label, v[f"out_mask_{key}"])
        np.testing.assert_allclose(found.confidence, v[f"out_conf_{key}"], **TOLERANCE)
    threshold = float(v["conf_thresh"])
    strong = [confident_loss(logits[f"u_s{k}"], pasted[k - 1], threshold) for k in (1, 2)]
    supervised = cross_entropy(logits["x"], torch.from_numpy(v["in_mask_x"]).long())
    combine(supervised, strong, confident_loss(logits["u_w_fp"], weak, threshold)).backward()
    for stream in ("x", "u_w_fp", "u_s1", "u_s2"):
        here, recorded = v[f"valid_{stream}"]  # pixels that each loss is a mean over
        np.testing.assert_allclose(logits[stream].grad * here / recorded, v[f"out_grad_{stream}"], rtol=1e-4, atol=1e-8)
    assert (logits["u_w"].grad, logits["mix"].grad) == (None, None)


def test_a_loss_counts_confident_pixels_over_all_valid_ones():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5)
    target = PseudoLabel(torch.randint(0, 3, (2, 4, 5)), torch.rand(2, 4, 5), torch.rand(2, 4, 5) > 0.3)
    target.confidence[0, 0, 0], target.valid[0, 0, 0] = 0.5, True  # exactly at the threshold: counts
    probabilities = logits.softmax(dim=1)
    total, valid = 0.0, 0
    for b, y, x in np.ndindex(2, 4, 5):
        valid += bool(target.valid[b, y, x])
        if target.valid[b, y, x] and target.confidence[b, y, x] >= 0.5:
            total -= float(probabilities[b, target.label[b, y, x], y, x].log())
    assert confident_loss(logits, target, 0.5).item() == pytest.approx(total / valid, rel=1e-5)


def test_no_valid_pixel_gives_zero_and_no_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    nothing = pseudo_label(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2))
    loss = confident_loss(logits, nothing, 0.0) + ohem_loss(logits, torch.full((1, 2, 2), 255)) + 0
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0
    assert float(confident_share(nothing, 0.0)) == 0


def test_weights_of_unlabelled_losses_sum_to_one_in_every_variant():
    x, one, two, fp = (torch.tensor(value) for value in (8.0, 2.0, 4.0, 6.0))
    assert combine(x, [one]).item() == (8 + 2) / 2
    assert combine(x, [one, two]).item() == (8 + 3) / 2
    assert combine(x, [one], fp).item() == (8 + 0.5 * 2 + 0.5 * 6) / 2
    assert combine(x, [one, two], fp).item() == (8 + 0.25 * 2 + 0.25 * 4 + 0.5 * 6) / 2


def test_rolling_gives_each_image_another_partner():
    label = torch.arange(3)[:, None, None].expand(3, 1, 1)
    rolled = PseudoLabel(label, label / 3, label > 0).rolled()
    assert rolled.label.flatten().tolist() == [2, 0, 1]
    assert rolled.valid.flatten().tolist() == [True, False, True]


def test_boxes_become_masks():
    masks = box_masks(torch.tensor([[1, 2, 2, 1], [0, 0, 0, 0]]), (4, 4))
    expected = torch.zeros(2, 4, 4, dtype=torch.bool)
    expected[0, 1:3, 2] = True
    assert torch.equal(masks, expected)


# --- OHEM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(7))
def test_ohem_is_that_of_the_published_code(case):
    v = load("unimatch", "ohem")
    threshold, min_kept = v[f"case{case}_thresh_minkept"]
    logits = torch.from_numpy(v["pred"]).requires_grad_(True)
    loss = ohem_loss(logits, torch.from_numpy(v["target"]), float(threshold), int(min_kept))
    loss.backward()
    np.testing.assert_allclose(loss.item(), v[f"case{case}_loss"], **TOLERANCE)
    assert int((logits.grad.abs().amax(dim=1) > 0).sum()) == v[f"case{case}_kept"]


# --- schedules, teacher, dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pascal_92", "cityscapes_1_16", "coco_1_512", "tiny"])
def test_learning_rates_are_those_of_the_published_code(name):
    v = load("unimatch", "lr_schedule")
    rate, head, epochs, steps = v[f"{name}_cfg"]
    factors = [delayed_polynomial(int(k), int(epochs * steps)) for k in v[f"{name}_iter"]]
    np.testing.assert_allclose(np.outer(factors, [rate, rate * head]), v[f"{name}_lr"], rtol=1e-9)


def test_a_teacher_follows_at_the_published_ratio():
    v = load("unimatch", "v2_compdrop_ema")
    np.testing.assert_allclose([teacher_ratio(int(k)) for k in v["iters"]], v["ema_ratio"], rtol=1e-6)


def check_complementary(masks, half):
    first, second = masks[:half], masks[half:]
    assert set(np.unique(masks)) <= {0, 1, 2}
    np.testing.assert_array_equal(first + second, np.full_like(first, 2))
    whole = (first == 1).all(axis=1)
    assert whole.sum() == half // 2
    np.testing.assert_array_equal(first[whole], second[whole])
    assert not (first[~whole] == 1).any()


@pytest.mark.parametrize("batch", [4, 8, 10])
def test_complementary_masks_have_the_form_of_the_published_ones(batch):
    check_complementary(load("unimatch", "v2_compdrop_ema")[f"mask_bs{batch}"], batch // 2)
    check_complementary(complementary_masks(batch // 2, 96, torch.Generator().manual_seed(0)).numpy(), batch // 2)


def test_half_of_the_channels_are_dropped_in_a_random_half_of_the_images():
    generator = torch.Generator().manual_seed(0)
    masks = torch.stack([complementary_masks(5, 64, generator)[:5] for _ in range(200)])
    whole = (masks == 1).all(dim=2)
    np.testing.assert_allclose(whole.float().mean(dim=0), 0.4, atol=0.12)
    assert float((masks[~whole] == 0).float().mean()) == pytest.approx(0.5, abs=0.02)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_miou_is_that_of_the_published_code():
    v = load("unimatch", "miou")
    for j in (0, 1):
        matrix = ConfusionMatrix(int(v[f"K{j}"]))
        for truth, prediction in zip(v[f"gt{j}"], v[f"pred{j}"], strict=True):
            matrix.update(truth, prediction)
        np.testing.assert_allclose(100 * matrix.iou(), v[f"iou{j}"], rtol=1e-6)
        np.testing.assert_allclose(100 * matrix.miou(), v[f"miou{j}"], rtol=1e-6)


def test_absent_classes_count_as_zero_in_the_published_mean_and_not_in_ours():
    v = load("unimatch", "miou")
    matrix = ConfusionMatrix(int(v["absent_K"]))
    matrix.update(v["gt1"], v["pred1"])
    np.testing.assert_allclose(100 * np.nan_to_num(matrix.iou()), v["absent_iou"], rtol=1e-6)
    np.testing.assert_allclose(100 * np.nan_to_num(matrix.iou()).mean(), v["absent_miou"], rtol=1e-6)
    assert 100 * matrix.miou() > v["absent_miou"]


@pytest.mark.parametrize("mode", ["original", "sliding_window", "center_crop"])
def test_evaluation_modes_are_those_of_the_published_code(mode):
    v = load("unimatch", "evaluate_modes")
    weight, bias, side = torch.from_numpy(v["conv_weight"]), torch.from_numpy(v["conv_bias"]), int(v["crop_size"])

    def forward(image):
        return F.conv2d(image, weight, bias, padding=2)

    matrix = ConfusionMatrix(19)
    for j in (0, 1):
        image, truth = torch.from_numpy(v[f"img{j}"]), v[f"gt{j}"]
        top, left = ((length - side) // 2 for length in truth.shape[1:])
        middle = np.s_[..., top : top + side, left : left + side]
        predict = {
            "original": lambda image=image: forward(image),
            "sliding_window": lambda image=image: sum_over_windows(image, side, forward, shifted=False),
            "center_crop": lambda image=image, middle=middle: forward(image[middle]),
        }[mode]
        prediction = predict().argmax(dim=1).numpy()
        np.testing.assert_array_equal(prediction, v[f"{mode}_pred{j}"])
        matrix.update(truth[middle] if mode == "center_crop" else truth, prediction)
    np.testing.assert_allclose(100 * np.nan_to_num(matrix.iou()), v[f"{mode}_iou"], rtol=1e-6)
    np.testing.assert_allclose(100 * np.nan_to_num(matrix.iou()).mean(), v[f"{mode}_miou"], rtol=1e-6)


def test_shifted_windows_cover_a_side_and_stay_inside():
    assert window_spans(40, 24) == [(0, 24), (16, 40)]
    assert window_spans(41, 24) == [(0, 24), (16, 40), (17, 41)]
    assert window_spans(20, 24) == [(0, 20)]
    assert window_spans(24, 24) == [(0, 24)]
    assert window_spans(40, 24, shifted=False) == [(0, 24), (16, 40), (32, 40)]


@pytest.mark.parametrize("background", [0, None])
def test_tags_share_the_foreground_of_a_batch_as_of_single_images(background):
    generator = torch.Generator().manual_seed(5)
    logits = 3 * torch.randn(3, 4, 5, 6, generator=generator)
    logits[2, 1, :2] = -1e4  # the one tagged class of image 2 is nowhere in its upper rows
    tags = torch.tensor([[1.0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0]])
    if background is not None:
        tags = tags[:, 1:].roll(1, 1)
        tags[2] = torch.tensor([1.0, 0, 0])
    probabilities = logits.softmax(dim=1)
    found = share_by_tags(probabilities, tags)
    for k in range(3):
        weights = np.concatenate([[0], tags[k].numpy()]) if background is not None else tags[k].numpy()
        np.testing.assert_allclose(found[k].numpy(), share_foreground(probabilities[k].numpy(), weights, background), atol=1e-6)
    target = pseudo_label(logits, torch.ones(3, 5, 6), tags)
    assert torch.equal(target.label, found.argmax(dim=1)) and torch.equal(target.confidence, found.amax(dim=1))
    allowed = F.pad(tags, (1, 0), value=1.0) if background is not None else tags
    assert allowed.gather(1, target.label.flatten(1)).bool()[:2].all()


def test_an_image_of_no_class_is_all_background():
    target = pseudo_label(torch.randn(1, 3, 2, 2), torch.ones(1, 2, 2), torch.zeros(1, 2))
    assert (target.label == 0).all() and (target.confidence == 1).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_most_confident_pixels_of_each_class_are_trusted(share):
    generator = torch.Generator().manual_seed(2)
    label = torch.randint(0, 3, (2, 6, 7), generator=generator)
    confidence = torch.rand(2, 6, 7, generator=generator) * torch.tensor([0.99, 0.6, 0.3])[label]
    target = PseudoLabel(label, confidence, torch.rand(2, 6, 7, generator=generator) > 0.3)
    found = trust_class_shares(target, share, 0.9)
    assert torch.equal(found.label, label) and torch.equal(found.valid, target.valid)
    for class_id in range(3):
        here = target.valid & (label == class_id)
        order = confidence[here].argsort(descending=True)
        trusted = torch.zeros(len(order), dtype=torch.bool)
        trusted[order[: -int(-share * len(order) // 1)]] = True
        expected = torch.where(trusted, confidence[here].clamp(min=0.9), confidence[here])
        assert torch.equal(found.confidence[here], expected)
    assert torch.equal(found.confidence[~target.valid], confidence[~target.valid])


def test_without_a_valid_pixel_none_is_trusted():
    target = PseudoLabel(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), 0.4), torch.zeros(1, 2, 2, dtype=torch.bool))
    assert torch.equal(trust_class_shares(target, 0.5, 0.9).confidence, target.confidence)
