"""The training between two domains: where gradients go, what a crop without answers costs, and where answered points land."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from labelseg.class_ids import IGNORE
from labelseg.methods.active.adaptation_samples import DomainView
from labelseg.methods.active.adaptation_training import adaptation_losses
from labelseg.models.adaptation import AdaptationNet, Discriminator, TwinSegmenter
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.segmenter import Segmenter

ALL = {"source": 1.0, "answers": 1.0, "adversarial": 0.5}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return AdaptationNet(Segmenter(build_backbone("tiny", 16), 4, "deeplabv2"), Discriminator(4))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 2, 3, 64, 64, generator=generator)
    masks = torch.randint(0, 4, (2, 2, 64, 64), generator=generator)
    answers = torch.where(torch.rand(2, 64, 64, generator=generator) < 0.01, masks[1], IGNORE)
    return {"image": images[0], "mask": masks[0], "target": images[1], "answers": answers}


def judged(logits, domain):
    """Binary cross entropy by its definition."""
    p = logits.sigmoid()
    return -(domain * p.log() + (1 - domain) * (1 - p).log()).mean()


def gradients(loss, module):
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(module.parameters(), found, strict=True)]


def test_the_losses_are_what_their_definition_says(net, batch):
    losses = adaptation_losses(net(batch["image"], batch["target"]), batch, ALL)
    ours, theirs = net.segmenter(batch["image"]), net.segmenter(batch["target"])
    expected = {
        "loss_source": F.cross_entropy(ours, batch["mask"]),
        "loss_answers": F.cross_entropy(theirs, batch["answers"], ignore_index=IGNORE),
        "loss_adversarial": judged(net.discriminator(theirs.softmax(1)), 0.0),
        "loss_discriminator": (judged(net.discriminator(ours.softmax(1)), 0.0) + judged(net.discriminator(theirs.softmax(1)), 1.0)) / 2,
    }
    assert losses.keys() == {"loss", *expected}
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-6)
    total = expected["loss_source"] + expected["loss_answers"] + 0.5 * expected["loss_adversarial"] + expected["loss_discriminator"]
    torch.testing.assert_close(losses["loss"], total, rtol=1e-4, atol=1e-6)


def test_segmenter_and_discriminator_each_learn_from_their_own_loss_alone(net, batch):
    losses = adaptation_losses(net(batch["image"], batch["target"]), batch, ALL)
    for of_both, of_own, module in (
        ("loss", losses["loss_source"] + losses["loss_answers"] + 0.5 * losses["loss_adversarial"], net.segmenter),
        ("loss", losses["loss_discriminator"], net.discriminator),
    ):
        for one, other in zip(gradients(losses[of_both], module), gradients(of_own, module), strict=True):
            torch.testing.assert_close(one, other)
    assert not any(g.any() for g in gradients(losses["loss_adversarial"], net.discriminator))
    assert not any(g.any() for g in gradients(losses["loss_discriminator"], net.segmenter))
    assert any(g.any() for g in gradients(losses["loss_adversarial"], net.segmenter))


def test_a_crop_without_an_answer_costs_nothing_and_is_no_nan(net, batch):
    empty = {**batch, "answers": torch.full((2, 64, 64), IGNORE)}
    losses = adaptation_losses(net(None, batch["target"]), empty, ALL)
    assert losses["loss_answers"].item() == 0
    assert not any(g.any() for g in gradients(losses["loss"], net.segmenter))


def test_what_weighs_nothing_is_left_out(batch):
    torch.manual_seed(0)
    net = AdaptationNet(Segmenter(build_backbone("tiny", 16), 4, "deeplabv2"))
    out = net(batch["image"], batch["target"])
    assert adaptation_losses(out, batch, {"source": 1.0, "answers": 0.0, "adversarial": 0.0}).keys() == {"loss", "loss_source"}
    assert adaptation_losses(out, batch, {"source": 0.0, "answers": 2.0, "adversarial": 0.0}).keys() == {"loss", "loss_answers"}


def test_the_discriminator_judges_patches_of_32_pixels():
    net = Discriminator(19)
    assert [tuple(p.shape) for p in net.parameters() if p.ndim == 4] == [
        (64, 19, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1, 512, 4, 4),
    ]  # fmt: skip
    assert net(torch.rand(1, 19, 64, 96)).shape == (1, 1, 2, 3)


def test_the_head_of_deeplab_v2_adds_four_dilated_convolutions():
    torch.manual_seed(0)
    net = Segmenter(build_backbone("tiny", 16), 5, "deeplabv2").eval()
    x = torch.randn(1, 3, 64, 48)
    high = net.backbone(x)[-1]
    summed = sum(F.conv2d(high, b.weight, b.bias, padding=r, dilation=r) for b, r in zip(net.head.branches, (6, 12, 18, 24), strict=True))
    torch.testing.assert_close(net(x), F.interpolate(summed, size=(64, 48), mode="bilinear", align_corners=True))
    assert net.head.branches[0].weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_gradients_of_what_stops_at_the_heads_reach_no_backbone():
    torch.manual_seed(0)
    segmenter = Segmenter(build_backbone("tiny", 16), 4, "deeplabv2")
    net = TwinSegmenter(segmenter, Segmenter(build_backbone("tiny", 16), 4, "deeplabv2").head).train()
    x = torch.randn(1, 3, 64, 64)
    first, second, *apart = net(x)
    torch.testing.assert_close(first, apart[0])
    torch.testing.assert_close(second, apart[1])
    loss = (apart[0] - apart[1]).abs().mean()
    assert not any(g.any() for g in gradients(loss, net.segmenter.backbone))
    assert any(g.any() for g in gradients((first - second).abs().mean(), net.segmenter.backbone))
    assert any(g.any() for g in gradients(loss, net.second))
    assert len(net.eval()(x)) == 2


class Answered:
    """An item with three answered points, one of which nobody could tell."""

    id = "a"
    unknown = np.full((30, 40), IGNORE, np.uint8)

    def image(self):
        return np.zeros((30, 40, 3), np.uint8)

    def mask(self):
        return np.full((30, 40), 2, np.uint8)

    def read(self, role):
        assert role == "answers"
        labels = np.array([1, 2, IGNORE], np.uint8)
        return {"points": np.array([[0, 0], [29, 39], [15, 20]], np.int32), "point_labels": labels, "mask": self.unknown}


def test_points_survive_shrinking_mirroring_and_padding():
    view = DomainView(("target", "answers"), 32, (0.2, 0.6), 0.0, "answers")
    for seed in range(30):
        labels = view(Answered(), np.random.default_rng(seed))["answers"]
        assert sorted(labels[labels != IGNORE].tolist()) == [1, 2]


def test_a_view_without_a_role_knows_nothing_and_an_empty_one_reads_the_truth():
    for role, expected in ((None, {IGNORE}), ("", {2})):
        sample = DomainView(("image", "mask"), 20, (1.0, 1.0), 0.0, role)(Answered(), np.random.default_rng(0))
        assert sample["image"].shape == (3, 20, 20)
        assert set(np.unique(sample["mask"]).tolist()) == expected
