"""ResNet-38 and VGG-16 as AffinityNet was published with them, and Xception-65 as UniMatch was."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.errors import DataError
from labelseg.models.affinity_net import AffinityNet
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.encoders.vgg16 import CAFFE_MEAN, GROUPS, VGG16, WIDTHS
from labelseg.models.fast.folding import fold_batchnorm
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.backbone_weights import load_weights
from labelseg.ops.affinity.pairs import pair_offsets, psa_origins
from tests.models.filled import fill

PSA = Path(__file__).parents[2] / "reference" / "psa"
TAPS = ("feat_conv4", "feat_conv5", "feat_conv6")


@pytest.fixture(scope="module")
def recorded():
    return {name: torch.from_numpy(value) for name, value in np.load(PSA / "net_resnet38_small.npz").items()}


@pytest.fixture(scope="module")
def names():
    return json.loads((PSA / "net_resnet38_names.json").read_text())


@pytest.fixture(scope="module")
def resnet38():
    with torch.device("meta"):
        backbone = build_backbone("resnet38", 8)
    backbone.to_empty(device="cpu")
    state = {name: fill(name, tuple(value.shape)) for name, value in backbone.state_dict().items() if value.ndim}
    backbone.load_state_dict(state, strict=False)
    return backbone.eval()


def test_resnet38_has_the_published_names_and_shapes(names):
    with torch.device("meta"):
        state = build_backbone("resnet38", 8).state_dict()
    assert {name: list(value.shape) for name, value in state.items() if not name.endswith("tracked")} == names["backbone"]


@torch.no_grad()
def test_resnet38_gives_the_published_taps(recorded, resnet38):
    early, *taps = resnet38(recorded["x"])
    assert early.shape == (1, 256, 16, 20)
    for name, tap in zip(TAPS, taps, strict=True):
        torch.testing.assert_close(tap[:, :: 8 * tap.shape[1] // 64], recorded[name], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_classifier_of_resnet38_gives_the_published_logits_and_maps(recorded, names, resnet38):
    net = Classifier(resnet38, 20).eval()
    assert list(net.classify.weight.shape) == names["heads"]["fc8.weight"]
    net.classify.weight.copy_(fill("fc8.weight", (20, 4096, 1, 1)))
    torch.testing.assert_close(net(recorded["x"]), recorded["logits"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(net.cam(recorded["x"]), recorded["cam"], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_affinity_net_of_resnet38_gives_the_published_affinities(recorded, names, resnet38):
    net = AffinityNet(resnet38, norm="none").eval()
    heads = dict(
        zip(("f8_3.weight", "f8_4.weight", "f8_5.weight", "f9.weight"), (*(part[0] for part in net.reduce), net.mix[0]), strict=True)
    )
    for name, conv in heads.items():
        assert list(conv.weight.shape) == names["heads"][name]
        conv.weight.copy_(fill(name, tuple(conv.weight.shape)))
    found = net.pair_affinities(net(recorded["x_aff"]), pair_offsets(5))[0]
    origins = torch.from_numpy(psa_origins(tuple(found.shape[1:]), 5))
    torch.testing.assert_close(found[:, origins], recorded["pair_affinity"][0], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_resnet38_folds_into_the_same_network(recorded, resnet38):
    expected = resnet38(recorded["x"])
    with torch.device("meta"):
        folded = build_backbone("resnet38", 8)
    folded.to_empty(device="cpu").load_state_dict(resnet38.state_dict())
    for found, tap in zip(fold_batchnorm(folded)(recorded["x"]), expected, strict=True):
        torch.testing.assert_close(found, tap, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("stride", [16, 32])
def test_resnet38_of_a_larger_stride_is_the_published_one_on_a_coarser_grid(recorded, resnet38, stride):
    with torch.device("meta"):
        coarse = build_backbone("resnet38", stride)
    coarse.to_empty(device="cpu").load_state_dict(resnet38.state_dict())
    for found, tap, ratio in zip(coarse.eval()(recorded["x"]), resnet38(recorded["x"]), (1, 1, 2, stride // 8), strict=True):
        torch.testing.assert_close(found, tap[:, :, ::ratio, ::ratio], rtol=1e-4, atol=1e-5)


def test_units_of_resnet38_are_dilated_and_drop_channels_as_published():
    with torch.device("meta"):
        net = build_backbone("resnet38", 8)
    reach = {name: module.dilation[0] for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and module.dilation[0] > 1}
    twos = ["b5.conv_branch2b1", *(f"b5_{k}.conv_branch2{part}" for k in (1, 2) for part in ("a", "b1"))]
    assert reach == {**dict.fromkeys(twos, 2), "b6.conv_branch2b1": 4, "b7.conv_branch2b1": 4}
    assert (net.b6.dropout.p, net.b7.dropout.p) == (0.3, 0.5)


# --- VGG-16 -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(("stride", "sizes"), [(8, (8, 4, 4, 4)), (16, (8, 4, 2, 2)), (32, (8, 4, 2, 1))])
def test_vgg16_has_the_published_taps(stride, sizes):
    backbone = build_backbone("vgg16", stride).eval()
    taps = backbone(torch.zeros(1, 3, 31, 31))
    assert [tuple(tap.shape[1:]) for tap in taps] == [(c, s, s) for c, s in zip((256, 512, 512, 1024), sizes, strict=True)]


def test_vgg16_has_the_published_number_of_parameters_and_dilations():
    assert round(sum(parameter.numel() for parameter in Classifier(build_backbone("vgg16", 8), 20).parameters()) / 1e6, 1) == 20.5
    for dilate, reach in ((True, 4), (False, 1)):
        net = build_backbone("vgg16", 8, dilate)
        convolutions = {name: module.dilation[0] for name, module in net.named_children() if isinstance(module, nn.Conv2d)}
        assert convolutions.pop("fc6") == reach
        assert {name: found for name, found in convolutions.items() if found > 1} == {f"conv5_{k}": 2 for k in (1, 2, 3)}


@torch.no_grad()
def test_maps_of_vgg16_are_square_roots():
    net, images = Classifier(build_backbone("vgg16", 8), 3).eval(), torch.rand(1, 3, 16, 16)
    maps = net.classify(net.backbone(images)[-1]).relu()
    assert maps.max() > 0
    assert torch.equal(net.cam(images), maps.sqrt())


def of_caffe() -> dict[str, torch.Tensor]:
    """A file as converted from Caffe: named after layers, with a classifier at the end."""
    state = {name: value.clone() for name, value in build_backbone("vgg16", 8).state_dict().items() if not name.startswith("to_input.")}
    return {**state, "fc8.weight": torch.zeros(20, 1024, 1, 1)}


def test_a_file_from_caffe_gets_images_as_caffe_normalised_them(recorded, tmp_path):
    state = of_caffe()
    torch.save(state, tmp_path / "vgg16.pth")
    backbone = build_backbone("vgg16", 8)
    load_weights(backbone, str(tmp_path / "vgg16.pth"))
    assert torch.equal(backbone.conv3_2.weight, state["conv3_2.weight"])
    images = recorded["norm38"].permute(2, 0, 1)[None]
    torch.testing.assert_close(backbone.to_input(images)[0].permute(1, 2, 0), recorded["normvgg"], rtol=0, atol=1e-3)
    assert CAFFE_MEAN[0] < CAFFE_MEAN[2]  # blue comes first
    again = build_backbone("vgg16", 8)
    torch.save({f"backbone.{name}": value for name, value in backbone.state_dict().items()}, tmp_path / "own.pth")
    load_weights(again, str(tmp_path / "own.pth"))
    assert torch.equal(again.to_input(images), backbone.to_input(images))


def test_a_file_of_torchvision_gets_normalised_images_and_leaves_the_last_layers_random(tmp_path):
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = [f"conv{group}_{place}" for group, count in enumerate(GROUPS, start=1) for place in range(1, count + 1)]
    own = build_backbone("vgg16", 16).state_dict()
    state = {f"features.{at}.{kind}": own[f"{name}.{kind}"] for at, name in zip(places, names, strict=True) for kind in ("weight", "bias")}
    torch.save({**state, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg16.pth")
    backbone = build_backbone("vgg16", 16)
    fc6 = backbone.fc6.weight.clone()
    load_weights(backbone, str(tmp_path / "vgg16.pth"))
    assert torch.equal(backbone.conv5_3.bias, own["conv5_3.bias"])
    assert torch.equal(backbone.conv1_1.weight, own["conv1_1.weight"])
    assert torch.equal(backbone.fc6.weight, fc6)
    images = torch.rand(1, 3, 4, 4)
    assert torch.equal(backbone.to_input(images), images)
    torch.save({name: value for name, value in state.items() if ".28." not in name}, tmp_path / "short.pth")
    with pytest.raises(DataError, match=r"2 missing: conv5_3.weight, conv5_3.bias"):
        load_weights(VGG16(16), str(tmp_path / "short.pth"))


def test_widths_and_groups_are_those_of_the_paper():
    assert (GROUPS, WIDTHS) == ((2, 2, 3, 3, 3), (3, 64, 128, 256, 512, 512))


# --- Xception-65 ------------------------------------------------------------------------------------------------------


def test_xception65_of_timm_is_the_network_of_unimatch():
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    backbone = build_backbone("timm:xception65", 16)
    assert backbone.strides == (4, 8, 16, 16)
    assert (backbone.channels[0], backbone.channels[2:]) == (256, (1024, 2048))  # inside block 2; both blocks of the exit flow
    net = Segmenter(backbone, 81, "unimatch", 256, "batch", False)
    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 1) == 54.7
