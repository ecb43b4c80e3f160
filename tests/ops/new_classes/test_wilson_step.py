"""Whole iterations against the published trainer, its networks replaced by fixed tensors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from labelseg.class_ids import IGNORE
from labelseg.ops.new_classes.pamr import pamr
from labelseg.ops.new_classes.wilson import hard_masks, pool_scores, present_scores, seed_masks
from labelseg.ops.new_classes.wilson_step import DenseMasks, MaskKind, StepOutputs, StepSettings, make_targets, small_image, step_losses
from tests.recorded import close, wilson_tensors

STEPS = ("07_step_voc15-5_a0.5", "07_step_voc10-5-5_step2_a0.5")
WARM_UP = "07_step_voc15-5_warmup"


def outputs_of(recorded, warm=False):
    return StepOutputs(
        logits=recorded["outputs"].requires_grad_(),
        features=recorded["feat"].requires_grad_(),
        old_logits=recorded["outputs_old"],
        old_features=recorded["feat_old"],
        localizer=recorded["z_train"].requires_grad_(),
        localizer_eval=None if warm else recorded["z_eval"],
    )


def settings_of(recorded):
    return StepSettings(
        alpha=float(recorded["alpha"]),
        all_tags=bool(recorded["no_mask"]),
        background_mix=float(recorded["icarl_bkg"]),
        refine=bool(recorded["use_aff"]),
        feature_weight=float(recorded["lde_weight"]),
        mean=(0.485, 0.456, 0.4069),
    )


@pytest.fixture(scope="module", params=STEPS)
def step(request):
    recorded = wilson_tensors(request.param)
    outputs, settings = outputs_of(recorded), settings_of(recorded)
    losses = step_losses(outputs, recorded["image"], recorded["l1h"], settings)
    losses["loss"].backward()
    return SimpleNamespace(recorded=recorded, outputs=outputs, settings=settings, losses=losses)


@pytest.mark.parametrize("name", ["cls", "loc", "enc", "sss", "seg"])
def test_each_loss_of_a_step_is_that_of_the_published_code(step, name):
    close(step.losses[name], step.recorded[f"l_{name}"])


def test_the_sum_of_the_losses_is_that_of_the_published_code(step):
    close(step.losses["loss"], step.recorded["loss_total"])


def test_gradients_of_a_step_are_those_of_the_published_code(step):
    close(step.outputs.logits.grad, step.recorded["grad_outputs"])
    close(step.outputs.localizer.grad, step.recorded["grad_z_train"])
    close(step.outputs.features.grad, step.recorded["grad_feat"])


def test_the_pooled_scores_of_a_step_are_those_of_the_published_code(step):
    n_new = step.recorded["y_agg_used"].shape[1]
    close(pool_scores(step.recorded["z_train"])[:, -n_new:], step.recorded["y_agg_used"])
    assert torch.equal(step.recorded["l1h"][:, -n_new:], step.recorded["y_labels_used"])


def test_the_refined_scores_of_a_step_are_those_of_the_published_code(step):
    image = small_image(step.recorded["image"], step.recorded["z_eval"].shape[2:], step.settings)
    close(image, step.recorded["pamr_image"])
    scores = step.recorded["z_eval"].softmax(dim=1)
    close(scores, step.recorded["pamr_in"])
    refined = pamr(image, scores)
    close(refined, step.recorded["pamr_out"], 1e-4)
    close(present_scores(refined, step.recorded["l1h"]), step.recorded["m_soft_masked"], 1e-4)


def test_the_targets_of_a_step_are_those_of_the_published_code(step):
    recorded = step.recorded
    targets = make_targets(recorded["z_eval"], recorded["outputs_old"], recorded["image"], recorded["l1h"], step.settings)
    assert torch.equal(targets.seeds, recorded["pseudo_gt_localizer"].float())
    close(targets.target, recorded["q_hat"])
    masked = present_scores(recorded["z_eval"].softmax(dim=1), recorded["l1h"])
    close(masked, recorded["m_orig_masked"])
    assert torch.equal(hard_masks(masked), recorded["hard"].float())
    close(recorded["outputs_old"].sigmoid(), recorded["loc_target"])


def test_the_gate_of_a_step_is_that_of_the_published_code(step):
    assert float(step.losses["seg_gate"]) == float(step.recorded["batch_weight"].mean())
    assert bool(step.recorded["class_presence_agree"].all())


def test_the_warm_up_is_that_of_the_published_code():
    recorded = wilson_tensors(WARM_UP)
    outputs = outputs_of(recorded, warm=True)
    losses = step_losses(outputs, recorded["image"], recorded["l1h"], settings_of(recorded))
    for name in ("cls", "loc", "enc"):
        close(losses[name], recorded[f"l_{name}"])
    close(losses["loss"], recorded["loss_total"])
    assert losses.keys() == {"loss", "cls", "loc", "enc"}
    losses["loss"].backward()
    assert torch.equal(outputs.logits.grad, torch.zeros_like(outputs.logits))
    close(outputs.localizer.grad, recorded["grad_z_train"])
    close(outputs.features.grad, recorded["grad_feat"])


@pytest.fixture
def batch():
    """Two images, background and two old classes, two new ones, of which the first image has one."""
    generator = torch.Generator().manual_seed(0)
    outputs = StepOutputs(
        torch.randn(2, 5, 4, 4, generator=generator, requires_grad=True),
        torch.randn(2, 6, 4, 4, generator=generator),
        torch.randn(2, 3, 4, 4, generator=generator),
        torch.randn(2, 6, 4, 4, generator=generator),
        torch.randn(2, 5, 4, 4, generator=generator),
        torch.randn(2, 5, 4, 4, generator=generator),
    )
    labels = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    return outputs, torch.randn(2, 3, 16, 16, generator=generator), labels


def test_labels_of_old_classes_count_only_when_asked_for(batch):
    outputs, image, labels = batch
    without = labels.clone()
    without[:, :2] = 0
    masked = step_losses(outputs, image, labels, StepSettings())
    assert torch.equal(masked["loss"], step_losses(outputs, image, without, StepSettings())["loss"])
    everything = step_losses(outputs, image, labels, StepSettings(all_tags=True))
    assert float(everything["cls"]) == pytest.approx(
        float(torch.nn.functional.binary_cross_entropy_with_logits(pool_scores(outputs.localizer)[:, 1:], labels))
    )


def test_the_loss_of_features_has_its_weight(batch):
    outputs, image, labels = batch
    losses = step_losses(outputs, image, labels, StepSettings(feature_weight=0.25))
    expected = sum(losses[name].item() for name in ("cls", "loc", "sss", "seg")) + 0.25 * losses["enc"].item()
    assert losses["loss"].item() == pytest.approx(expected)


def test_the_background_of_the_target_is_mixed_when_asked_for(batch):
    outputs, image, labels = batch
    targets = make_targets(outputs.localizer_eval, outputs.old_logits, image, labels, StepSettings(background_mix=0.25))
    expected = 0.75 * outputs.old_logits[:, 0].sigmoid() + 0.25 * targets.soft[:, 0]
    torch.testing.assert_close(targets.target[:, 0], expected)


def test_a_true_mask_takes_the_place_of_the_target(batch):
    outputs, image, labels = batch
    masks = torch.full((2, 16, 16), IGNORE)
    masks[1, :8], masks[1, 8:, :8] = 2, 0
    losses = step_losses(outputs, image, labels, StepSettings(), DenseMasks(masks, torch.tensor([MaskKind.NONE, MaskKind.TRUE])))
    (gradient,) = torch.autograd.grad(losses["seg"], outputs.logits)
    weight = 2 * 16 * (1 + 0.5e-5)  # images that count, times pixels
    sure = torch.zeros(5, 4, 4)
    sure[2, :2], sure[0, 2:, :2] = 1, 1
    expected = (outputs.logits[1].sigmoid() - sure) / weight
    expected[:, 2:, 2:] = 0
    torch.testing.assert_close(gradient[1], expected, rtol=1e-4, atol=1e-7)
    plain = step_losses(outputs, image, labels, StepSettings())
    torch.testing.assert_close(gradient[0], torch.autograd.grad(plain["seg"], outputs.logits)[0][0])


def test_a_mask_of_new_classes_takes_the_place_of_the_localizer(batch):
    outputs, image, labels = batch  # background, two old classes, two new ones; cells of 4 x 4 pixels
    masks = torch.zeros((2, 16, 16), dtype=torch.uint8)
    masks[1, :8], masks[1, 8:10, :4], masks[1, 12:, :8], masks[1, 12:, 12:14] = 3, 4, IGNORE, IGNORE
    masks[1, :4, 8:] = 1  # an old class, of which such masks say nothing
    kinds = torch.tensor([MaskKind.NONE, MaskKind.NEW_CLASSES], dtype=torch.uint8)
    losses = step_losses(outputs, image, labels, StepSettings(), DenseMasks(masks, kinds))
    (gradient,) = torch.autograd.grad(losses["seg"], outputs.logits)
    expected, count = torch.zeros(5, 4, 4), 2 * 16 * (1 + 0.5e-5)
    for row in range(4):
        for column in range(4):
            pixels = masks[1, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten().tolist()
            known = [pixel for pixel in pixels if pixel != IGNORE]
            new = [known.count(channel) / max(len(known), 1) for channel in (3, 4)]
            old, room = outputs.old_logits[1, :, row, column].sigmoid(), 1 - sum(new)
            target = torch.tensor([min(float(old[0]), room), *(float(value) * room for value in old[1:]), *new])
            expected[:, row, column] = (outputs.logits[1, :, row, column].sigmoid() - target) * len(known) / 16 / count
    torch.testing.assert_close(gradient[1], expected, rtol=1e-4, atol=1e-7)
    plain = step_losses(outputs, image, labels, StepSettings())
    torch.testing.assert_close(gradient[0], torch.autograd.grad(plain["seg"], outputs.logits)[0][0])
    for name in ("cls", "loc", "enc", "sss"):  # the localizer learns as it did
        assert losses[name].item() == plain[name].item()


def test_an_image_whose_mask_teaches_counts_also_where_its_crop_shows_no_new_class(batch):
    outputs, image, labels = batch
    hard = StepSettings(alpha=1.0)  # under which an image may not count
    masks, kinds = torch.zeros((2, 16, 16), dtype=torch.uint8), torch.full((2,), MaskKind.NEW_CLASSES)
    labels = labels.clone()
    labels[:, 2:] = 1
    unsure = outputs._replace(localizer_eval=outputs.localizer_eval.clone())
    unsure.localizer_eval[:, 0] += 100
    assert step_losses(unsure, image, labels, hard)["seg_gate"] == 0
    assert step_losses(unsure, image, labels, hard, DenseMasks(masks, kinds))["seg_gate"] == 1


def test_seeds_are_of_the_refined_scores_and_soft_labels_of_those_before():
    generator = torch.Generator().manual_seed(1)
    scores, old = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 2, 8, 8, generator=generator)
    labels, settings = torch.tensor([[0.0, 1.0, 1.0]]), StepSettings()
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 2.0  # two halves of one colour each, along which noise is smoothed
    found = make_targets(scores, old, image, labels, settings)
    refined = pamr(small_image(image, scores.shape[2:], settings), scores.softmax(dim=1))
    plain = make_targets(scores, old, image, labels, StepSettings(refine=False))
    assert torch.equal(found.seeds, seed_masks(present_scores(refined, labels)))
    assert not torch.equal(found.seeds, plain.seeds)
    assert torch.equal(found.soft, plain.soft)


def test_the_warm_up_gives_the_decoder_gradients_of_zero_and_not_none(batch):
    outputs, image, labels = batch
    losses = step_losses(outputs._replace(localizer_eval=None), image, labels, StepSettings())
    (gradient,) = torch.autograd.grad(losses["loss"] + outputs.localizer.sum() * 0, outputs.logits)
    assert torch.equal(gradient, torch.zeros_like(outputs.logits))
