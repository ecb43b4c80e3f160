"""Gated maps, attention and the fused label, against recorded results of the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from labelseg.errors import UsageError
from labelseg.ops.few_masks.sgc import (
    attend,
    attention_weights,
    fuse,
    grad_cam,
    linear_cam,
    logit_scale,
    normalize_maps,
    propagate_maps,
    resize_bilinear,
    resize_nearest,
    sharpen,
)
from tests.reference_files import channels_first, channels_last, load

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def with_background(maps):
    return torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1)


@pytest.fixture(scope="module")
def cams():
    return load("pseudoseg", "gradcam")


def heads(vectors):
    """Name -> head on features (B, F, h, w)."""
    weight, bias, second, mask = (torch.from_numpy(vectors[name]) for name in ("W", "b", "W2", "dropout_mask"))
    return {
        "gap": lambda f: f.mean(dim=(2, 3)) @ weight + bias,
        "dropout": lambda f: (f.mean(dim=(2, 3)) * mask) @ weight + bias,
        "nonlinear": lambda f: (
            F.softplus(2 * f - 1).mean(dim=(2, 3)) @ weight + torch.einsum("bfhw,fc->bchw", f, second).square().mean(dim=(2, 3)) + bias
        ),
    }


@pytest.mark.parametrize("name", ["gap", "dropout", "nonlinear"])
def test_grad_cam_of_any_head_is_the_mean_over_positions(cams, name):
    features, tags = channels_first(cams["feat"]), torch.from_numpy(cams["cls_label"])
    head = heads(cams)[name]
    np.testing.assert_allclose(head(features), cams[f"{name}_logits"], rtol=1e-4, atol=1e-4)
    found = with_background(grad_cam(features, head, tags))
    np.testing.assert_allclose(channels_last(found), cams[f"{name}_canonical_cam_with_bg"], **TOLERANCE)


def test_linear_heads_need_no_backward_pass(cams):
    features, tags = channels_first(cams["feat"]), torch.from_numpy(cams["cls_label"])
    found = with_background(linear_cam(features, torch.from_numpy(cams["W"]).T, tags))
    np.testing.assert_allclose(channels_last(found), cams["gap_out_cam_with_bg"], **TOLERANCE)


def test_a_map_is_that_of_its_own_image(cams):
    features, tags = channels_first(cams["feat"]), torch.from_numpy(cams["cls_label"])
    head = heads(cams)["nonlinear"]
    alone = torch.cat([grad_cam(features[k : k + 1], head, tags[k : k + 1]) for k in range(len(features))])
    torch.testing.assert_close(grad_cam(features, head, tags), alone)


def test_maps_of_absent_classes_and_maps_without_positives_are_zero():
    maps = normalize_maps(torch.tensor([[[[0.0, 2.0]], [[0.0, 0.0]], [[4e-6, 0.0]]]]))
    torch.testing.assert_close(maps, torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]], [[0.4, 0.0]]]]))
    assert linear_cam(torch.rand(1, 3, 2, 2), torch.rand(2, 3), torch.tensor([[0.0, 1.0]]))[0, 0].abs().max() == 0


@pytest.mark.parametrize("name", ["attention_train", "attention_small"])
def test_attention_and_spread_scores_are_those_of_the_published_code(name):
    v = load("pseudoseg", name)
    column = torch.cat([channels_first(v["feat16"]), channels_first(v["feat15"])], dim=1)
    key, query = (torch.einsum("bfhw,fd->bdhw", column, torch.from_numpy(v[f"{part}_w"])) for part in ("key", "query"))
    cam, valid = channels_first(v["cam"]), torch.from_numpy(v["valid"])[..., 0]
    np.testing.assert_allclose(attention_weights(query, key, valid), v["att_weights"], **TOLERANCE)
    scores = propagate_maps(cam, attend(cam, query, key, valid))
    np.testing.assert_allclose(channels_last(scores), v["score_with_bg"], **TOLERANCE)
    mixed = torch.einsum("bchw,cd->bdhw", scores, torch.from_numpy(v["pixnorm_w"]))
    np.testing.assert_allclose(channels_last(mixed), v["pre_bn"], **TOLERANCE)


def test_rows_of_attention_sum_to_one_and_invalid_positions_give_nothing():
    torch.manual_seed(0)
    valid = torch.ones(1, 2, 3)
    valid[0, 1, 2] = 0
    attention = attention_weights(torch.randn(1, 4, 2, 3), torch.randn(1, 4, 2, 3), valid)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(1, 6))
    assert attention[0, :5, 5].max() == 0
    torch.testing.assert_close(attention[0, 5], torch.full((6,), 1 / 6))


def test_attention_follows_its_definition_in_loops():
    torch.manual_seed(1)
    query, key, maps = torch.randn(1, 4, 1, 3), torch.randn(1, 4, 1, 3), torch.rand(1, 2, 1, 3)
    expected = torch.zeros(1, 2, 1, 3)
    for i in range(3):
        logits = torch.tensor([float((query[0, :, 0, i] * key[0, :, 0, j]).sum()) / 2 for j in range(3)])
        weights = logits.exp() / logits.exp().sum()
        for j in range(3):
            expected[0, :, 0, i] += weights[j] * maps[0, :, 0, j]
    torch.testing.assert_close(attend(maps, query, key, torch.ones(1, 1, 3)), expected)


@pytest.mark.parametrize("pairs", [1, 2 * 35, 11 * 35 + 3, 2**22])
def test_attention_in_blocks_is_attention_at_once_gradients_included(pairs):
    torch.manual_seed(2)
    query, key, maps = torch.randn(2, 4, 5, 7), torch.randn(2, 4, 5, 7), torch.rand(2, 3, 5, 7)
    valid = (torch.rand(2, 5, 7) > 0.2).float()
    leaves = [query.requires_grad_(), key.requires_grad_()]
    found = attend(maps, *leaves, valid, pairs)
    expected = torch.einsum("bij,bcj->bci", attention_weights(*leaves, valid), maps.flatten(2)).reshape(maps.shape)
    torch.testing.assert_close(found, expected)
    for left, right in zip(*(torch.autograd.grad(out.square().sum(), leaves) for out in (found, expected)), strict=True):
        torch.testing.assert_close(left, right)


def test_an_image_of_many_cells_is_attended_in_little_memory(monkeypatch):
    from labelseg.ops.few_masks import sgc

    held = []

    def watched(*given):
        weights = attention_weights(*given)
        held.append(weights.numel())
        return weights

    monkeypatch.setattr(sgc, "attention_weights", watched)
    maps, features = torch.rand(1, 1, 96, 128), torch.randn(1, 2, 96, 128)
    assert attend(maps, features, features, torch.ones(1, 96, 128)).shape == maps.shape
    assert sum(held) == (96 * 128) ** 2
    assert max(held) <= 2**22


def test_data_without_background_has_no_background_score():
    maps = torch.rand(1, 3, 2, 2)
    torch.testing.assert_close(propagate_maps(maps, maps, background=False), 2 * maps)
    with_it = propagate_maps(maps, maps)
    torch.testing.assert_close(with_it[:, 0], 2 - 2 * maps.amax(dim=1))
    torch.testing.assert_close(with_it[:, 1:], 2 * maps)


@pytest.mark.parametrize("case", range(4))
def test_fused_labels_are_those_of_the_published_code(case):
    v = load("pseudoseg", "fusion")
    decoder, sgc = (channels_first(v[f"c{case}_{part}_logits"]) for part in ("decoder", "sgc"))
    np.testing.assert_allclose(float(logit_scale(decoder, sgc)), v[f"c{case}_rms"], rtol=1e-5)
    for normalize in (0, 1):
        for temperature in (0.25, 0.5, 1.0):
            found = fuse(decoder, sgc, temperature=temperature, normalize=bool(normalize))
            np.testing.assert_allclose(channels_last(found), v[f"c{case}_norm{normalize}_T{temperature}"], **TOLERANCE)


def test_the_ends_of_gamma_are_the_parts_alone():
    torch.manual_seed(0)
    decoder, sgc = torch.randn(2, 4, 3, 3), 5 * torch.randn(2, 4, 3, 3)
    scale = logit_scale(decoder, sgc)
    torch.testing.assert_close(fuse(decoder, sgc, gamma=1, temperature=1), (decoder / scale).softmax(dim=1))
    torch.testing.assert_close(fuse(decoder, sgc, gamma=0, temperature=1), (sgc / scale).softmax(dim=1))


def test_a_label_normalised_within_its_image_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    decoder, sgc = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3) * torch.tensor([1.0, 30.0])[:, None, None, None]
    for scope, alone in (("image", True), ("pixel", True), ("batch", False)):
        single = fuse(decoder[:1], sgc[:1], scope=scope)
        assert torch.allclose(fuse(decoder, sgc, scope=scope)[:1], single) is alone
    torch.testing.assert_close(logit_scale(decoder[:1], sgc[:1], "image"), logit_scale(decoder[:1], sgc[:1], "batch"))
    with pytest.raises(UsageError, match="norm scope"):
        logit_scale(decoder, sgc, "all")


def test_sharpening_survives_tiny_probabilities():
    sharp = sharpen(torch.tensor([1.0, 0.0, 1e-30])[None, :, None, None], 0.1)
    torch.testing.assert_close(sharp[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    halves = sharpen(torch.tensor([0.8, 0.2])[None, :, None, None], 0.5)
    torch.testing.assert_close(halves[0, :, 0, 0], torch.tensor([0.64, 0.04]) / 0.68)


def test_resizing_is_that_of_the_published_code():
    v = load("pseudoseg", "resize")
    mask = torch.from_numpy(v["mask"])[..., 0]
    smaller = resize_nearest(mask, (17, 13))
    np.testing.assert_array_equal(smaller, v["mask_17x13"][..., 0])
    np.testing.assert_array_equal(resize_nearest(smaller, (5, 4)), v["mask_5x4"][..., 0])
    larger = resize_bilinear(channels_first(v["x"]), (17, 13))
    np.testing.assert_allclose(channels_last(larger), v["x_17x13_align_corners"], **TOLERANCE)
    for side, stride, cells in v["scale_dim"]:
        assert int((side - 1) / stride + 1) == cells == -(-side // stride)
