from __future__ import annotations

import numpy as np
import pytest
import torch

from labelseg.class_ids import IGNORE
from labelseg.ops.active.selector import discrepancy, inconsistency_mask, nudge, selector_loss, to_grid_size
from tests.reference_files import load


def pair(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def check_discrepancy(recorded, case):
    first, second = (torch.from_numpy(recorded[f"{case}_z{k}"]).requires_grad_() for k in (1, 2))
    found = discrepancy(first, second)
    np.testing.assert_allclose(found.item(), recorded[f"{case}_disc"], rtol=1e-6)
    found.backward()
    for logits, k in ((first, 1), (second, 2)):
        np.testing.assert_allclose(logits.grad, recorded.get(f"{case}_grad{k}", logits.grad), atol=1e-8)


@pytest.mark.parametrize("case", ["seg19", "one_image", "vec"])
def test_the_discrepancy_is_that_of_the_published_code(case):
    check_discrepancy(load("labor", "A2_mcd_discrepancy_small"), case)


@pytest.mark.parametrize("case", ["seg19", "one_image", "vec", "big"])
def test_the_discrepancy_of_large_maps_is_that_of_the_published_code(case):
    check_discrepancy(load("labor", "A2_mcd_discrepancy"), case)


def test_the_loss_of_the_selector_is_the_recorded_one():
    recorded = load("labor", "B3_pixel_selector_loss")
    first, second = (torch.from_numpy(recorded[f"z{k}"]).requires_grad_() for k in (1, 2))
    labels = torch.from_numpy(recorded["label"])
    found = selector_loss(first, second, labels)
    found.backward()
    # cross_entropy works in float32
    np.testing.assert_allclose(found.item(), recorded["l_pt"], rtol=1e-6)
    np.testing.assert_allclose(selector_loss(first, second, labels, weight=0).item(), recorded["ce_sum"], rtol=1e-6)
    np.testing.assert_allclose(discrepancy(first, second).item(), recorded["disc"], rtol=1e-12)
    for logits, k in ((first, 1), (second, 2)):
        np.testing.assert_allclose(logits.grad, recorded[f"grad{k}"], atol=1e-8)


def test_a_crop_without_pseudo_labels_only_drives_the_classifiers_apart():
    first, second = pair(0, 1, 3, 4, 4)
    labels = torch.full((1, 4, 4), IGNORE)
    assert selector_loss(first, second, labels).item() == pytest.approx(-discrepancy(first, second).item())


def test_the_gradient_of_the_discrepancy_may_stop_at_the_classifiers():
    features = torch.randn(1, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    heads = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    labels = torch.randint(0, 3, (1, 5, 5))

    def logits(x):
        return [torch.einsum("kc,bchw->bkhw", head, x) for head in heads]

    only_labels = torch.autograd.grad(selector_loss(*logits(features), labels, weight=0), features)[0]
    stopped = torch.autograd.grad(selector_loss(*logits(features), labels, tuple(logits(features.detach()))), [features, *heads])
    through = torch.autograd.grad(selector_loss(*logits(features), labels), [features, *heads])
    torch.testing.assert_close(stopped[0], only_labels)
    assert (through[0] - only_labels).abs().max() > 1e-4
    torch.testing.assert_close(stopped[1:], through[1:])


@pytest.mark.parametrize("round_", [1, 2, 3])
def test_masks_are_the_recorded_ones(round_):
    recorded = load("labor", "B1_inconsistency_spl")
    first, second = (torch.from_numpy(recorded[f"r{round_}_z{k}_low"]) for k in (1, 2))
    mask = inconsistency_mask(first, second, (64, 128))
    np.testing.assert_array_equal(mask, recorded[f"r{round_}_mask"])
    np.testing.assert_array_equal(inconsistency_mask(first, second), recorded[f"r{round_}_mask_low"])
    assert mask.mean() == recorded[f"r{round_}_mask_fraction"]


def test_logits_are_enlarged_before_classes_are_compared():
    first, second = (z[0].float() for z in pair(3, 1, 4, 5, 6))
    enlarged = [to_grid_size(z[None], (20, 24))[0] for z in (first, second)]
    np.testing.assert_array_equal(inconsistency_mask(first, second, (20, 24)), (enlarged[0].argmax(0) != enlarged[1].argmax(0)).numpy())
    assert not np.array_equal(inconsistency_mask(first, second, (20, 24)), inconsistency_mask(first, second, (20, 24), align_corners=False))


def test_equal_classifiers_agree_everywhere_and_a_tie_goes_to_the_lowest_class():
    tie = torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1)
    assert not inconsistency_mask(tie, torch.tensor([2.0, 1.0, 0.0]).reshape(3, 1, 1)).any()
    assert inconsistency_mask(tie, torch.tensor([0.0, 1.0, 0.0]).reshape(3, 1, 1)).all()


def separation(deviation):
    """The share of inputs on which two copies of one classifier differ after training, the second one nudged before."""
    torch.manual_seed(0)
    features = torch.randn(400, 6)
    labels = torch.where(torch.rand(400) < 0.3, torch.randint(0, 3, (400,)), IGNORE)
    heads = [torch.zeros(3, 6, requires_grad=True) for _ in range(2)]
    nudge([heads[1]], deviation, 0)
    optimizer = torch.optim.SGD(heads, lr=0.5)
    for _ in range(200):
        logits = [(features @ head.T)[..., None, None] for head in heads]
        loss = selector_loss(*logits, labels[:, None, None], weight=2.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    one, two = ((features @ head.T).argmax(1) for head in heads)
    return (one != two).float().mean().item()


def test_exact_copies_never_separate_and_nudged_ones_do():
    assert separation(0.0) == 0
    assert separation(1e-3) > 0.1


def test_a_nudge_is_seeded_and_of_its_deviation():
    one, two, other = (torch.zeros(10_000) for _ in range(3))
    for tensor, seed in ((one, 1), (two, 1), (other, 2)):
        nudge([tensor], 1e-3, seed)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.std().item() == pytest.approx(1e-3, rel=0.05)
