"""Losses of PseudoSeg, alone and as one training step, against recorded results of the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelseg.ops.few_masks.pseudoseg import consistency_loss, segmentation_loss, tag_loss, tags_of_masks
from labelseg.ops.few_masks.sgc import attend, attention_weights, fuse, linear_cam, propagate_maps, resize_bilinear, resize_nearest
from labelseg.training.schedules import polynomial, slow_start
from tests.reference_files import channels_first, channels_last, load

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


# --- supervised loss --------------------------------------------------------------------------------------------------

LOSSES = {
    "plain": {},
    "topk": {"hardest": 0.25},
    "noup": {"enlarge": False},
    "weighted": {"class_weights": torch.arange(21) * 0.05 + 0.5},  # read off the recorded gradient
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_those_of_the_published_code(name):
    v = load("pseudoseg", "seg_loss")
    logits = channels_first(v["logits"]).requires_grad_(True)
    loss = segmentation_loss(logits, torch.from_numpy(v["labels"])[..., 0], **LOSSES[name])
    loss.backward()
    np.testing.assert_allclose(loss.item(), v[f"loss_{name}"], rtol=1e-5)
    np.testing.assert_allclose(channels_last(logits.grad), v[f"grad_{name}"], rtol=1e-4, atol=1e-7)


def test_no_labelled_pixel_gives_a_loss_of_zero():
    v = load("pseudoseg", "seg_loss")
    logits = channels_first(v["logits"]).requires_grad_(True)
    for settings in ({}, {"hardest": 0.25}):
        loss = segmentation_loss(logits, torch.full((2, 41, 33), 255), **settings)
        loss.backward()
        assert loss.item() == v["loss_all_ignored"] == 0
        assert logits.grad.abs().max() == 0


# --- unsupervised loss ------------------------------------------------------------------------------------------------


def test_consistency_is_over_valid_pixels_of_which_confident_ones_add():
    logits = torch.tensor([[[[0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0]]]])
    target = torch.tensor([[[[0.9, 0.3, 0.5]], [[0.1, 0.7, 0.5]]]])
    valid = torch.tensor([[[1, 1, 0]]])
    soft = [-(t * np.log(p) + (1 - t) * np.log(1 - p)) for t, p in ((0.9, 1 / (1 + np.e)), (0.3, 1 / (1 + np.e**2)))]
    assert consistency_loss(logits, target, valid).item() == pytest.approx(sum(soft) / 2)
    assert consistency_loss(logits, target, valid, threshold=0.8).item() == pytest.approx(soft[0] / 2)
    hard = [-np.log(1 / (1 + np.e)), -np.log(1 - 1 / (1 + np.e**2))]
    assert consistency_loss(logits, target, valid, hard=True).item() == pytest.approx(sum(hard) / 2)
    assert consistency_loss(logits, target, valid, threshold=0.9, hard=True).item() == pytest.approx(hard[0] / 2)


def test_consistency_without_valid_pixels_is_zero_and_the_target_gets_no_gradient():
    logits, target = torch.randn(1, 3, 2, 2, requires_grad=True), torch.rand(1, 3, 2, 2, requires_grad=True)
    consistency_loss(logits, target, torch.zeros(1, 2, 2)).backward()
    assert logits.grad.abs().max() == 0
    assert target.grad is None


def test_tags_of_masks_leave_out_the_background_and_what_is_ignored():
    masks = torch.tensor([[[0, 255], [2, 2]], [[255, 255], [255, 255]]])
    assert tags_of_masks(masks, 4, 1).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert tags_of_masks(masks, 3, 0).tolist() == [[1, 0, 1], [0, 0, 0]]


# --- a whole step -----------------------------------------------------------------------------------------------------


class Step:
    """The published training step from recorded inputs, built of our operations."""

    def __init__(self):
        v = load("pseudoseg", "train_inputs")
        flat = {name: torch.from_numpy(v[name]) for name in ("cls_w", "cls_b", "key_w", "query_w", "pixnorm_w", "pixnorm_beta")}
        maps = {name: channels_first(v[name]) for name in v if name.startswith("logits_") or "_feat" in name}
        self.leaves = {name: tensor.requires_grad_(True) for name, tensor in (flat | maps).items()}
        self.valid = {part: torch.from_numpy(v[f"valid_{part}"])[..., 0] for part in "ul"}
        self.label = torch.from_numpy(v["label_l"])[..., 0]
        tags = (self.tag_logits("u").sigmoid() >= 0.5).float()
        self.u = self.sgc("u", tags)
        self.l = self.sgc("l", torch.from_numpy(v["cls_label_l"]))
        self.att_up = resize_bilinear(self.u["logits"], (21, 13))
        self.target = fuse(self.leaves["logits_weak"].detach(), self.att_up.detach())
        self.decoder_valid = resize_nearest(self.valid["u"], (21, 13))
        self.losses = {
            "consistency": consistency_loss(self.leaves["logits_strong"], self.target, self.decoder_valid),
            "seg": segmentation_loss(self.leaves["logits_seg"], self.label),
            "sa": segmentation_loss(self.l["logits"], self.label),
            "cls": tag_loss(self.tag_logits("l"), torch.from_numpy(v["cls_label_l"])),
        }

    def tag_logits(self, part):
        return self.leaves[f"{part}_feat16"].mean(dim=(2, 3)) @ self.leaves["cls_w"] + self.leaves["cls_b"]

    def sgc(self, part, tags):
        high, low = self.leaves[f"{part}_feat16"].detach(), self.leaves[f"{part}_feat15"].detach()
        cam = linear_cam(high, self.leaves["cls_w"].T, tags)
        column = torch.cat([high, low], dim=1)
        key, query = (torch.einsum("bfhw,fd->bdhw", column, self.leaves[f"{name}_w"]) for name in ("key", "query"))
        valid = resize_nearest(resize_nearest(self.valid[part], (21, 13)), (6, 4))
        attended = attend(cam, query, key, valid)
        mixed = torch.einsum("bchw,cd->bdhw", propagate_maps(cam, attended), self.leaves["pixnorm_w"])
        logits = torch.nn.functional.batch_norm(mixed, None, None, bias=self.leaves["pixnorm_beta"], training=True, eps=1e-3)
        return {"cam": cam, "attention": attention_weights(query, key, valid), "spread": attended, "logits": logits}


@pytest.fixture(scope="module")
def step():
    return Step()


@pytest.fixture(scope="module")
def recorded():
    return load("pseudoseg", "train_default")


def test_maps_and_attention_of_a_step_are_the_recorded_ones(step, recorded):
    for part, found in (("u", step.u), ("l", step.l)):
        np.testing.assert_allclose(channels_last(found["cam"]), recorded[f"{part}_cam"], **TOLERANCE)
        np.testing.assert_allclose(found["attention"].detach(), recorded[f"{part}_att_weights"], **TOLERANCE)
        np.testing.assert_allclose(found["spread"].flatten(2).mT.detach(), recorded[f"{part}_att_score"], **TOLERANCE)
        np.testing.assert_allclose(channels_last(found["logits"]), recorded[f"{part}_att_logits"], **TOLERANCE)
    np.testing.assert_allclose(channels_last(step.l["logits"]), recorded["att_logits_labeled"], **TOLERANCE)


def test_fused_label_and_losses_of_a_step_are_the_recorded_ones(step, recorded):
    np.testing.assert_allclose(channels_last(step.att_up), recorded["att_logits_weak_up"], **TOLERANCE)
    cam = step.u["cam"]
    with_background = torch.cat([1 - cam.amax(dim=1, keepdim=True), cam], dim=1)
    np.testing.assert_allclose(channels_last(resize_bilinear(with_background, (21, 13))), recorded["cam_weak_up"], **TOLERANCE)
    np.testing.assert_allclose(channels_last(step.target), recorded["pseudo_prob"], **TOLERANCE)
    np.testing.assert_array_equal(step.decoder_valid, recorded["valid_mask"][..., 0])
    average = fuse(step.leaves["logits_weak"].detach(), step.att_up.detach(), temperature=1).amax(dim=1)
    weak = step.leaves["logits_weak"].detach().softmax(dim=1).amax(dim=1)
    np.testing.assert_allclose(weak, recorded["max_prob_weak"], **TOLERANCE)
    np.testing.assert_allclose(average, recorded["max_prob_avg"], **TOLERANCE)
    for name, loss in step.losses.items():
        np.testing.assert_allclose(loss.item(), recorded[f"loss_{name}"], rtol=1e-5)
    np.testing.assert_allclose(sum(loss.item() for loss in step.losses.values()), recorded["total"], rtol=1e-5)


def test_gradients_of_a_step_are_the_recorded_ones(recorded):
    step = Step()
    sum(step.losses.values()).backward()
    for name in ("logits_strong", "logits_seg", "l_feat16"):
        np.testing.assert_allclose(channels_last(step.leaves[name].grad), recorded[f"grad_{name}"], rtol=1e-4, atol=1e-6)
    for name in ("cls_w", "key_w", "query_w", "pixnorm_w", "pixnorm_beta"):
        expected = recorded[f"grad_{name}"].reshape(step.leaves[name].shape)
        np.testing.assert_allclose(step.leaves[name].grad, expected, rtol=1e-3, atol=1e-6)
    for name in recorded["no_grad_targets"]:
        assert step.leaves[name].grad is None


# --- schedule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["voc", "coco", "slow"])
def test_learning_rates_are_those_of_the_published_code(name):
    v = load("pseudoseg", "lr_poly")
    base, total, slow_steps, slow_rate = v[f"{name}_cfg"]
    found = [slow_start(int(step), int(total), base, int(slow_steps), slow_rate) for step in v[f"{name}_step"]]
    np.testing.assert_allclose(found, v[f"{name}_lr"], rtol=1e-4, atol=1e-9)


def test_the_polynomial_falls_from_one_to_zero():
    assert [polynomial(step, 4, 2) for step in (0, 1, 2, 4, 9)] == pytest.approx([1, 0.5625, 0.25, 0, 0])
