from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from labelseg.class_ids import IGNORE
from labelseg.errors import UsageError
from labelseg.ops.affinity.grid import block_mean
from labelseg.ops.affinity.pairs import pair_offsets, psa_origins
from labelseg.ops.affinity.psa import PairLabels, affinity_labels, affinity_loss, pair_affinities, pair_labels

OFFSETS = pair_offsets(5)
SMALL_GRIDS = [(1, 1), (1, 6), (7, 1), (3, 4), (6, 9)]


def affinities_by_definition(features: np.ndarray) -> np.ndarray:
    batch, _, h, w = features.shape
    result = np.zeros((batch, len(OFFSETS), h, w))
    for b, k, y, x in np.ndindex(result.shape):
        to_y, to_x = y + OFFSETS[k][0], x + OFFSETS[k][1]
        if 0 <= to_y < h and 0 <= to_x < w:
            result[b, k, y, x] = np.exp(-np.mean(np.abs(features[b, :, y, x] - features[b, :, to_y, to_x])))
    return result


@pytest.mark.parametrize("size", SMALL_GRIDS)
def test_affinities_follow_their_definition(size):
    features = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = pair_affinities(features, OFFSETS)
    np.testing.assert_allclose(result.numpy(), affinities_by_definition(features.numpy()), atol=1e-12)


def test_gradients_of_affinities_are_right():
    features = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pair_affinities(f, pair_offsets(3)), (features,))


def test_affinities_of_half_precision_features_are_single_precision():
    features = torch.ones(1, 4, 3, 3, dtype=torch.bfloat16)
    assert pair_affinities(features, OFFSETS).dtype == torch.float32


@pytest.mark.parametrize("name", ["affloss_crop96_b2", "affloss_nofg_crop96_b1"])
def test_a_training_step_is_that_of_the_published_code(reference, name):
    recorded = reference(name)
    names = ["W_stem", "W_f8_3", "W_f8_4", "W_f8_5", "W_f9"]
    stem, f8_3, f8_4, f8_5, f9 = weights = [torch.tensor(recorded[key], requires_grad=True) for key in names]
    conv6 = F.conv2d(torch.tensor(recorded["net_input"]), stem, stride=8)
    levels = zip((torch.relu(conv6), torch.tanh(conv6), conv6), (f8_3, f8_4, f8_5), strict=True)
    features = F.elu(F.conv2d(torch.cat([F.elu(F.conv2d(tap, weight)) for tap, weight in levels], dim=1), f9))

    origins = torch.from_numpy(psa_origins(features.shape[2:], 5))
    affinities = pair_affinities(features, OFFSETS)
    affinities.retain_grad()
    pairs = [torch.zeros(affinities.shape, dtype=torch.bool) for _ in range(3)]
    for mask, key in zip(pairs, ("bg_label", "fg_label", "neg_label"), strict=True):
        mask[:, :, origins] = torch.from_numpy(recorded[key]).bool()
    loss = affinity_loss(affinities, PairLabels(*pairs))
    loss.loss.backward()

    np.testing.assert_allclose(affinities[:, :, origins].detach(), recorded["affinity"], atol=1e-6)
    terms = {"loss": loss.loss, "bg_loss": loss.background, "fg_loss": loss.foreground, "neg_loss": loss.different}
    for key, value in terms.items():
        assert value.item() == pytest.approx(float(recorded[key]), abs=1e-5)
    np.testing.assert_allclose(affinities.grad[:, :, origins], recorded["grad_affinity"], atol=1e-7)
    gradients = {key: weight.grad for key, weight in zip(names, weights, strict=True)}
    for key in ("stem", "f8_5", "f9"):
        np.testing.assert_allclose(gradients[f"W_{key}"], recorded[f"grad_{key}"], atol=1e-6)


@pytest.mark.parametrize("name", ["afflabel_allignore_12_r5", "afflabel_bgfg_12_r5", "afflabel_blocks_17_r5", "afflabel_rand_12_r5"])
def test_pair_labels_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    label = torch.from_numpy(recorded["label"])
    origins = psa_origins(label.shape, int(recorded["radius"]))
    pairs = pair_labels(label[None], pair_offsets(int(recorded["radius"])), origins)
    for mask, key in zip(pairs, ("bg_pos", "fg_pos", "neg"), strict=True):
        np.testing.assert_array_equal(mask[0][:, origins], recorded[key])
        assert mask.sum() == recorded[key].sum()


def test_pair_labels_cover_every_pair_of_the_grid_without_origins():
    labels = torch.tensor([[[0, 0, 1], [1, IGNORE, 1]]])
    background, foreground, different = pair_labels(labels, pair_offsets(2))  # right, lower left, below, lower right
    assert [int(mask.sum()) for mask in (background, foreground, different)] == [1, 1, 4]


def test_merged_labels_are_those_of_the_published_code(reference):
    for name in ("afftrain_labels_exact_96", "afftrain_labels_crop_pad_96", "afftrain_labels_zerostrip_96"):
        recorded = reference(name)
        low, high = np.split(recorded["pooled_scores"].transpose(2, 0, 1), 2)
        labels = affinity_labels(low, high)
        np.testing.assert_array_equal(labels, recorded["merged_label"])
        origins = psa_origins(labels.shape, 5)
        pairs = pair_labels(torch.from_numpy(labels)[None], OFFSETS, origins)
        for mask, key in zip(pairs, ("bg_pos", "fg_pos", "neg"), strict=True):
            np.testing.assert_array_equal(mask[0][:, origins], recorded[key])


def test_the_rules_differ_only_where_both_readings_are_confident_of_opposites():
    class_1, background, nothing = [0.2, 0.8], [0.9, 0.1], [0.0, 0.0]
    low = np.array([[class_1, background, class_1, background, nothing]]).transpose(2, 0, 1)
    high = np.array([[class_1, background, background, class_1, nothing]]).transpose(2, 0, 1)
    assert affinity_labels(low, high, rule="psa").tolist() == [[1, 0, 0, IGNORE, IGNORE]]
    assert affinity_labels(low, high, rule="irn").tolist() == [[1, 0, 1, IGNORE, IGNORE]]


def test_unknown_rules_and_unequal_stacks_are_refused():
    stack = np.ones((2, 3, 3))
    with pytest.raises(UsageError, match="psa, irn, got 'both'"):
        affinity_labels(stack, stack, rule="both")
    with pytest.raises(UsageError, match="one shape"):
        affinity_labels(stack, stack[:1])


def test_loss_without_pairs_is_zero_with_zero_gradients():
    affinities = torch.full((1, 34, 4, 4), 0.5, requires_grad=True)
    pairs = pair_labels(torch.full((1, 4, 4), IGNORE), OFFSETS)
    loss = affinity_loss(affinities, pairs)
    loss.loss.backward()
    assert loss.loss.item() == 0
    assert not affinities.grad.any()


def test_loss_weighs_images_by_their_pairs():
    affinities = torch.rand(2, 34, 6, 6, generator=torch.Generator().manual_seed(2))
    labels = torch.zeros(2, 6, 6, dtype=torch.long)
    labels[1, 1:] = IGNORE
    pairs = pair_labels(labels, OFFSETS)
    expected = -torch.log(affinities[pairs.background] + 1e-5).mean()
    assert affinity_loss(affinities, pairs).background.item() == pytest.approx(expected.item(), abs=1e-5)


def test_block_means_are_those_of_the_published_code(reference):
    recorded = reference("utils_norm_pool_crop")
    for source, pooled in (("pool_in", "pool8"), ("pool_in2", "pool8_padded")):
        maps = np.moveaxis(recorded[source], -1, 0)
        np.testing.assert_allclose(np.moveaxis(block_mean(maps, count_padding=True), 0, -1), recorded[pooled], atol=1e-6)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(h=st.integers(1, 20), w=st.integers(1, 20), block=st.integers(1, 9))
def test_block_means_are_means_over_the_pixels_of_each_block(h, w, block):
    maps = np.random.default_rng(h * 100 + w).random((2, h, w), dtype=np.float32)
    means = block_mean(maps, block)
    for y, x in np.ndindex(*means.shape[1:]):
        cut = maps[:, y * block : (y + 1) * block, x * block : (x + 1) * block]
        np.testing.assert_allclose(means[:, y, x], cut.mean(axis=(1, 2)), rtol=1e-5)
    assert means.shape[1:] == (-(-h // block), -(-w // block))


def test_inputs_stay_unchanged():
    rng = np.random.default_rng(3)
    low, high, features = rng.random((3, 5, 5)), rng.random((3, 5, 5)), torch.rand(1, 4, 5, 5)
    before = low.copy(), high.copy(), features.clone()
    affinity_labels(low, high)
    block_mean(low, 2)
    pair_affinities(features, OFFSETS)
    np.testing.assert_array_equal(low, before[0])
    np.testing.assert_array_equal(high, before[1])
    assert torch.equal(features, before[2])
