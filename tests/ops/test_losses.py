from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from labelseg.class_ids import IGNORE
from labelseg.ops.losses import cross_entropy, multilabel_soft_margin


def test_soft_margin_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(5, 20, generator=generator), torch.randint(0, 2, (5, 20), generator=generator)
    expected = F.multilabel_soft_margin_loss(logits, targets)
    torch.testing.assert_close(multilabel_soft_margin(logits, targets), expected)


def test_soft_margin_of_extreme_logits_is_finite():
    assert multilabel_soft_margin(torch.tensor([[200.0, -200.0]]), torch.tensor([[0, 1]])).item() == pytest.approx(200)


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(2, 3, 4, 5, generator=generator), torch.randint(0, 3, (2, 4, 5), generator=generator)
    labels[0, :2] = IGNORE
    chosen = torch.log_softmax(logits, dim=1).movedim(1, -1)[labels != IGNORE]
    expected = -chosen.gather(1, labels[labels != IGNORE][:, None]).mean()
    torch.testing.assert_close(cross_entropy(logits, labels.to(torch.uint8)), expected)


def test_cross_entropy_without_labels_is_zero_with_zero_gradients():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
