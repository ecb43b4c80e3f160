from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.errors import ArtifactError, DataError, UsageError
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.classifier import Classifier
from labelseg.models.displacement_net import DisplacementNet
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.networks import build_from, to_model
from labelseg.models.segmenter import Segmenter
from tests.models.filled import fill

REFERENCE = Path(__file__).parents[1] / "reference" / "psa"
SIZES = [(33, 50), (8, 8), (1, 70)]


def build(kind, *args, stride: int = 16, **settings):
    torch.manual_seed(2)
    return kind(build_backbone("tiny", stride), *args, **settings).eval()


# --- values recorded from the published networks ----------------------------------------------------------------------


def fill_network(net: nn.Module, published: dict[str, str]) -> None:
    """Fill a network; ``published`` maps beginnings of our parameter names to the published ones."""
    state = {}
    for name, value in net.state_dict().items():
        ours = next(prefix for prefix in published if name.startswith(prefix))
        state[name] = torch.zeros(()) if name.endswith("tracked") else fill(published[ours] + name.removeprefix(ours), tuple(value.shape))
    net.load_state_dict(state)


@pytest.fixture(scope="module")
def recorded():
    return {name: torch.from_numpy(value) for name, value in np.load(REFERENCE / "net_irn.npz").items()}


@pytest.fixture
def resnet50():
    return build_backbone("resnet50", 16, dilate=False)


@torch.no_grad()
def test_classifier_matches_the_published_resnet50(recorded, resnet50):
    net = Classifier(resnet50, 20).eval()
    fill_network(net, {"backbone.": "resnet50.", "classify.": "classifier."})
    torch.testing.assert_close(net(recorded["x"]), recorded["logits"], rtol=1e-4, atol=1e-4)
    cam = net.cam(recorded["x"])[0] + net.cam(recorded["x"].flip(-1))[0].flip(-1)
    torch.testing.assert_close(cam, recorded["cam_flipsum"], rtol=1e-4, atol=1e-4)
    odd = net.cam(recorded["x_odd"])[0] + net.cam(recorded["x_odd"].flip(-1))[0].flip(-1)
    torch.testing.assert_close(odd, recorded["cam_flipsum_odd"], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_boundary_net_matches_the_published_resnet50(recorded, resnet50):
    net = BoundaryNet(resnet50).eval()
    published = {f"reduce.{level}.{part}": f"fc_edge{level + 1}.{part}" for level in range(5) for part in range(2)}
    fill_network(net, {"backbone.": "resnet50.", "edge.": "fc_edge6.", **published})
    images = torch.cat([recorded["x"], recorded["x"].flip(-1)])
    torch.testing.assert_close(net(images), recorded["edge_logits"], rtol=1e-4, atol=1e-4)
    odd = torch.cat([recorded["x_odd"], recorded["x_odd"].flip(-1)])
    logits = net(nn.functional.pad(odd, (0, 128 - 101, 0, 128 - 75)))[:, :, :19, :26]  # filled up as the published code does
    boundary = net.view_boundary(torch.stack([logits[0], logits[1].flip(-1)]))
    torch.testing.assert_close(boundary[None], recorded["edge_prob_odd"], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_displacement_net_matches_the_published_resnet50(recorded, resnet50):
    net = DisplacementNet(resnet50).eval()
    published = {f"reduce.{level}.{part}": f"fc_dp{level + 1}.{part}" for level in range(5) for part in range(2)}
    fill_network(net, {"backbone.": "resnet50.", "mix_high.": "fc_dp6.", "mix_all.": "fc_dp7.", "mean": "mean_shift", **published})
    net.mean.copy_(recorded["mean_shift"])
    images = torch.cat([recorded["x"], recorded["x"].flip(-1)])
    torch.testing.assert_close(net(images), recorded["dp"], rtol=1e-4, atol=1e-4)
    odd = nn.functional.pad(recorded["x_odd"], (0, 128 - 101, 0, 128 - 75))  # filled up as the published code does
    torch.testing.assert_close(net(odd)[0, :, :19, :26], recorded["dp_odd"], rtol=1e-4, atol=1e-4)
    net.training = True  # of the branch alone: what displacements have in common is found after the training
    torch.testing.assert_close(net(images) - recorded["mean_shift"][:, None, None], recorded["dp"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(33, 50), (8, 8), (5, 70)])
@torch.no_grad()
def test_displacements_lie_on_the_stride_4_grid_at_any_size(size):
    net = DisplacementNet(build_backbone("resnet18", 16, dilate=False)).eval()
    assert net(torch.randn(1, 3, *size)).shape == (1, 2, math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    asked = []
    net.mix_high.register_forward_hook(lambda module, given, mixed: asked.append(mixed))
    net.mix_all.register_forward_pre_hook(lambda module, given: asked.append(given[0][:, -mixed_width:]))
    mixed_width = net.mix_high[0].out_channels
    net(torch.randn(1, 3, *size))
    twice = nn.functional.interpolate(asked[0], scale_factor=2, mode="bilinear", align_corners=False).relu()
    torch.testing.assert_close(asked[1], twice[:, :, : asked[1].shape[2], : asked[1].shape[3]])  # cropped at the bottom and at the right


class Stem(nn.Module):
    """The stand-in for a backbone with which the published training step was recorded."""

    channels = (3, 6, 6, 6)

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        stem = nn.functional.conv2d(x, self.weight, stride=8)
        return [x, stem.relu(), stem.tanh(), stem]


def test_affinity_net_matches_the_published_affinities():
    vectors = {name: torch.from_numpy(value) for name, value in np.load(REFERENCE / "affloss_crop96_b2.npz").items() if value.ndim}
    net = AffinityNet(Stem(vectors["W_stem"]), widths=(4, 5, 7))
    net.load_state_dict(
        {
            "backbone.weight": vectors["W_stem"],
            "reduce.0.0.weight": vectors["W_f8_3"],
            "reduce.1.0.weight": vectors["W_f8_4"],
            "reduce.2.0.weight": vectors["W_f8_5"],
            "mix.0.weight": vectors["W_f9"],
        }
    )
    features = net(vectors["net_input"])
    offsets = [(0, dx) for dx in range(1, 5)] + [(dy, dx) for dy in range(1, 5) for dx in range(-4, 5) if dy * dy + dx * dx < 25]
    rows, columns = features.shape[2] - 4, features.shape[3] - 8
    start = features[:, :, :rows, 4 : 4 + columns]
    ends = [features[:, :, dy : dy + rows, 4 + dx : 4 + dx + columns] for dy, dx in offsets]
    affinity = torch.stack([torch.exp(-(start - end).abs().mean(dim=1)).flatten(1) for end in ends], dim=1)
    torch.testing.assert_close(affinity, vectors["affinity"], rtol=1e-5, atol=1e-6)
    affinity.backward(vectors["grad_affinity"])
    torch.testing.assert_close(net.backbone.weight.grad, vectors["grad_stem"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.mix[0].weight.grad, vectors["grad_f9"], rtol=1e-4, atol=1e-5)


# --- classifier -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_logit_is_the_mean_of_the_activation_map_before_it_is_cut_at_zero():
    net, images = build(Classifier, 4), torch.randn(2, 3, 40, 56)
    positive = net.cam(images)
    net.classify.weight.neg_()
    negative = net.cam(images)
    net.classify.weight.neg_()
    assert positive.shape == (2, 4, 3, 4)
    assert (positive >= 0).all()
    torch.testing.assert_close(net(images), (positive - negative).mean(dim=(2, 3)))


def test_dropout_acts_in_training_alone():
    net, images = build(Classifier, 4, dropout=0.5), torch.randn(2, 3, 40, 40)
    net.backbone.freeze_batchnorm()
    assert torch.equal(net(images), net(images))
    net.train()
    assert not torch.equal(net(images), net(images))


# --- affinity networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("norm", ["none", "group"])
@torch.no_grad()
def test_affinity_features_lie_on_the_stride_8_grid(size, stride, norm):
    features = build(AffinityNet, stride=stride, norm=norm)(torch.randn(2, 3, *size))
    assert features.shape == (2, 448, math.ceil(size[0] / 8), math.ceil(size[1] / 8))


def test_affinity_head_starts_as_published():
    net = build(AffinityNet)
    weight = net.mix[0].weight
    assert weight.std().item() == pytest.approx(4 * math.sqrt(2 / (2 * 448)), rel=0.02)
    assert net.reduce[2][0].weight.std().item() == pytest.approx(math.sqrt(2 / 160), rel=0.02)
    assert all(module.bias is None for module in [net.mix[0], *(reduction[0] for reduction in net.reduce)])


@pytest.mark.parametrize("kind", [AffinityNet, BoundaryNet])
@torch.no_grad()
def test_affinities_of_one_view_or_equal_views_are_those_of_the_image(kind):
    net, offsets = build(kind), [(0, 1), (2, -1)]
    outputs = net(torch.randn(2, 3, 40, 56))
    affinities = net.pair_affinities(outputs, offsets)
    assert affinities.shape == (2, 2, math.ceil(40 / net.stride), math.ceil(56 / net.stride))
    torch.testing.assert_close(net.view_affinities(outputs[:1], offsets), affinities[0])
    torch.testing.assert_close(net.view_affinities(outputs[[1, 1]], offsets), affinities[1])


@torch.no_grad()
def test_affinity_of_two_views_is_the_geometric_mean():
    net, offsets = build(AffinityNet), [(0, 1)]
    outputs = net(torch.randn(2, 3, 40, 56))
    affinities = net.pair_affinities(outputs, offsets)
    torch.testing.assert_close(net.view_affinities(outputs, offsets), (affinities[0] * affinities[1]).sqrt())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [8, 32])
@torch.no_grad()
def test_boundaries_lie_on_the_stride_4_grid(size, stride):
    edges = build(BoundaryNet, stride=stride)(torch.randn(2, 3, *size))
    assert edges.shape == (2, 1, math.ceil(size[0] / 4), math.ceil(size[1] / 4))


# --- segmenter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "settings",
    [
        {"head": "atrous"},
        {"head": "deeplabv3plus", "width": 32},
        {"head": "deeplabv3plus", "width": 32, "norm": "batch", "separable": True},
    ],
)
@torch.no_grad()
def test_segmenter_gives_logits_of_the_images_size(size, settings):
    assert build(Segmenter, 7, **settings)(torch.randn(2, 3, *size)).shape == (2, 7, *size)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_segmenter_trains_on_a_batch_of_one(norm):
    net = build(Segmenter, 3, width=32, norm=norm).train()
    net(torch.randn(1, 3, 32, 32)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize(("stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_pyramid_rates_follow_the_output_stride(stride, rates):
    net = build(Segmenter, 3, stride=stride, width=32)
    assert [branch[0].dilation[0] for branch in net.head.pyramid] == [1, *rates]


def test_separable_head_is_several_times_smaller():
    full, separable = (sum(p.numel() for p in build(Segmenter, 3, separable=flag).head.parameters()) for flag in (False, True))
    assert separable < full / 3


def test_unknown_head_is_a_usage_error():
    with pytest.raises(UsageError, match="one of atrous, deeplabv2, deeplabv3plus, deeplabv3, unimatch, dpt, got"):
        build(Segmenter, 3, head="fcn")


# --- artifacts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "settings"),
    [
        (Classifier, (4,), {"dropout": 0.5}),
        (AffinityNet, (), {"widths": (8, 8, 16), "norm": "group"}),
        (BoundaryNet, (), {"width": 8}),
        (Segmenter, (4,), {"width": 16, "norm": "batch", "separable": True}),
        (Segmenter, (4,), {"head": "atrous"}),
    ],
)
@torch.no_grad()
def test_network_rebuilt_from_its_artifact_computes_the_same(kind, arguments, settings):
    net = build(kind, *arguments, stride=8, **settings)
    tensors, meta = to_model(net, {"classes": ["cat", "dog"]})
    rebuilt = build_from(json.loads(json.dumps(meta)), tensors)
    images = torch.randn(1, 3, 24, 40)
    assert type(rebuilt) is kind
    assert not rebuilt.training
    assert meta["classes"] == ["cat", "dog"]
    assert torch.equal(rebuilt(images), net(images))
    assert {array.dtype for array in tensors.values()} == {np.dtype("float32")}


def test_artifact_is_a_copy_of_the_network():
    net = build(Classifier, 4)
    tensors, meta = to_model(net, {})
    with torch.no_grad():
        net.classify.weight.zero_()
    rebuilt = build_from(meta, tensors)
    assert rebuilt.classify.weight.abs().sum() > 0
    with torch.no_grad():
        rebuilt.classify.weight.zero_()
    assert np.abs(tensors["classify.weight"]).sum() > 0


def test_a_network_without_dilation_is_rebuilt_without_it():
    torch.manual_seed(0)
    net = Classifier(build_backbone("tiny", 16, dilate=False), 3).eval()
    tensors, meta = to_model(net, {})
    images = torch.randn(1, 3, 48, 48)
    assert torch.equal(build_from(meta, tensors)(images), net(images))
    dilated = build_from({**meta, "dilate": True}, tensors)
    assert not torch.allclose(dilated(images), net(images))
    assert "dilate" not in to_model(dilated, {})[1]


def test_artifact_that_does_not_fit_is_an_error():
    tensors, meta = to_model(build(Classifier, 4), {})
    with pytest.raises(DataError, match=r"classify\.weight"):
        build_from({**meta, "settings": {"n_classes": 5}}, tensors)
    with pytest.raises(ArtifactError, match="boundary-net"):
        build_from({**meta, "network": "vit"}, tensors)
