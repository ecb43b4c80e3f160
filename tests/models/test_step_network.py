from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from labelseg.models.encoders.registry import build_backbone
from labelseg.models.heads.deeplabv3 import DeepLabV3Head
from labelseg.models.localizer import Localizer, StepNetwork
from labelseg.models.networks import build_from, known_classes, step_arrays, to_model
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.states import state_arrays


def segmenter(n_classes, head="deeplabv3", stride=16, **settings):
    return Segmenter(build_backbone("tiny", stride), n_classes, head, 16, **settings)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return StepNetwork(segmenter(5), Localizer(160, 5, 16), segmenter(3), warmup=1)


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("stride", "size"), [(16, (4, 3)), (8, (8, 6))])
def test_all_maps_have_the_size_of_the_last_tap(images, stride, size):
    net = StepNetwork(segmenter(5, stride=stride), Localizer(160, 5, 16), segmenter(3, stride=stride))
    outputs = net(images)
    assert [tuple(part.shape[1:]) for part in outputs] == [(c, *size) for c in (5, 160, 3, 160, 5, 5)]


def test_logits_of_a_finer_head_are_averaged_over_cells(images):
    fine = segmenter(4, "deeplabv3plus")
    outputs = StepNetwork(fine, Localizer(160, 4, 16), segmenter(3))(images)
    logits = fine.head(fine.backbone(images))
    assert logits.shape[2:] == (16, 12)
    torch.testing.assert_close(outputs.logits, F.avg_pool2d(logits, 4))


def test_pseudo_labels_come_from_evaluation_mode_and_leave_the_statistics(net, images):
    net(images)  # the warm-up
    localizer = net.localizer
    before = localizer.layers[1].running_mean.clone()
    features = net.segmenter.backbone(images)[-1]
    localizer.eval()
    expected = localizer(features)
    localizer.train()
    outputs = net(images)
    torch.testing.assert_close(outputs.localizer_eval, expected, rtol=1e-3, atol=1e-4)  # statistics of the backbone moved meanwhile
    assert not outputs.localizer_eval.requires_grad
    assert not torch.equal(localizer.layers[1].running_mean, before)
    moved = int(localizer.layers[1].num_batches_tracked)
    assert moved == 2  # one pass in training mode an update


def test_the_warm_up_is_counted_in_the_state(net, images):
    assert net(images).localizer_eval is None
    assert net(images).localizer_eval is not None
    assert int(net.state_dict()["updates"]) == 2
    net.eval()
    net(images)
    assert int(net.updates) == 2


def test_the_old_segmenter_is_neither_trained_nor_saved(net, images):
    net.train()
    assert not net.old.training
    outputs = net(images)
    assert not outputs.old_logits.requires_grad and not outputs.old_features.requires_grad
    assert not any("old" in name for name, _ in (*net.named_parameters(), *net.state_dict().items()))


def test_a_softmax_model_gives_its_probabilities_as_those_of_a_sigmoid(images):
    old = segmenter(3)
    raw = StepNetwork(segmenter(5), Localizer(160, 5, 16), old)(images).old_logits
    turned = StepNetwork(segmenter(5), Localizer(160, 5, 16), old, old_softmax=True)(images).old_logits
    torch.testing.assert_close(turned.sigmoid(), raw.softmax(dim=1))


@pytest.mark.parametrize("separable", [False, True])
def test_the_head_adds_a_pooled_branch_and_keeps_the_size(separable):
    torch.manual_seed(0)
    head = DeepLabV3Head(6, 4, (1, 2, 3), 8, "group", separable, pool=0)
    x = torch.randn(2, 6, 5, 7)
    context = head.project(head.pyramid_norm(torch.cat([branch(x) for branch in head.pyramid], dim=1)))
    expected = head.classify(head.norm(context + head.pooled(x.mean(dim=(2, 3), keepdim=True))))
    torch.testing.assert_close(head([x]), expected)


def test_in_evaluation_the_pooled_branch_slides_and_repeats_its_border():
    head = DeepLabV3Head(1, 2, (1,), 8, "group", False, pool=3).eval()
    x = torch.arange(12.0).reshape(1, 1, 2, 6)
    means = torch.tensor([x[..., k : k + 3].mean() for k in range(4)])
    expected = means[[0, 0, 1, 2, 3, 3]].expand(1, 1, 2, 6)
    torch.testing.assert_close(head._average(x), expected)
    head.train()
    assert head._average(x).flatten().tolist() == [5.5]


def test_a_model_keeps_its_head_and_leaves_helpers_aside():
    net = segmenter(3, pool=7).eval()
    tensors, meta = to_model(net, {"classes": ["background", "a", "b"], "helpers": ["localizer."]})
    tensors |= {f"localizer.{name}": array for name, array in state_arrays(Localizer(160, 3, 16)).items()}
    again = build_from(meta, tensors)
    x = torch.randn(1, 3, 33, 50)
    assert torch.equal(again(x), net(x))
    assert again.head.pool == 7


def test_a_model_tells_which_classes_its_channels_are():
    _, meta = to_model(segmenter(3), {})
    assert known_classes(meta) == [0, 1, 2]
    assert step_arrays(meta) == {}
    meta |= {"class_ids": [0, 5, 2], "increment": {"n_old": 2}}
    assert known_classes(meta) == [0, 5, 2]
    assert {name: array.tolist() for name, array in step_arrays(meta).items()} == {"known_ids": [0, 5, 2], "new_ids": [2]}


def test_the_localizer_learns_beside_its_own_pseudo_labels_in_bfloat16(net, images):
    net(images)  # the warm-up
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(images)
    outputs.localizer.square().mean().backward()
    assert outputs.localizer_eval is not None
    for name, parameter in net.localizer.named_parameters():
        if parameter.ndim > 1:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
