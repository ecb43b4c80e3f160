"""Files of weights as published code writes them: names, heads that are left out, what was taken, and what is trained from them."""

from __future__ import annotations

import json

import pytest
import torch

from labelseg.errors import DataError
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.weights.backbone_weights import check_weights, load_weights, outline
from tests.reference_files import HERE

BRANCHES = {f"reduce.{level}.{part}.": f"fc_edge{level + 1}.{part}." for level in range(5) for part in range(2)}


def shaped(kind, name, stride, *args, **settings):
    """A network of names and shapes alone."""
    with torch.device("meta"):
        return kind(build_backbone(name, stride), *args, **settings)


def listed(name):
    """Names and shapes of the tensors of a published network."""
    return {key: tuple(shape) for key, shape in json.loads((HERE / "psa" / f"{name}.json").read_text()).items()}


def filled(shapes):
    """Tensors that hold nothing: views of one zero."""
    return {name: torch.zeros(1).expand(shape) if shape else torch.tensor(0) for name, shape in shapes.items()}


def renamed(net, names):
    """Names and shapes of a network, with the published beginnings in place of its own."""
    state = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    beginnings = {name: next((own for own in names if name.startswith(own)), "") for name in state}
    return {names.get(own, "") + name.removeprefix(own): state[name] for name, own in beginnings.items()}


def test_tensors_of_a_classifier_and_a_boundary_net_are_those_of_the_published_irn():
    classifier = shaped(Classifier, "resnet50", 16, 20)
    assert renamed(classifier, {"backbone.": "resnet50.", "classify.": "classifier."}) == listed("net_irn_cam_params")
    whole = listed("net_irn_irn_params")
    boundary = {name: shape for name, shape in whole.items() if not name.startswith(("fc_dp", "mean_shift."))}
    assert renamed(shaped(BoundaryNet, "resnet50", 16), {"backbone.": "resnet50.", "edge.": "fc_edge6.", **BRANCHES}) == boundary
    assert len(whole) > len(boundary)


@pytest.mark.parametrize("file", ["net_irn_cam_params", "net_irn_irn_params"])
def test_a_published_irn_file_gives_its_backbone_although_it_holds_it_under_three_names(tmp_path, file):
    state = filled(listed(file))
    state["resnet50.bn1.weight"] = torch.full((64,), 3.0)
    own = {name.removeprefix("resnet50."): tensor for name, tensor in state.items() if name.startswith("resnet50.")}
    torch.save({**{f"backbone.0.{name}": tensor for name, tensor in own.items()}, **state}, tmp_path / "irn.pth")
    backbone = build_backbone("resnet50", 16)
    taken = load_weights(backbone, str(tmp_path / "irn.pth"))
    assert backbone.bn1.weight.eq(3).all()
    assert sum(taken.parts.values()) == sum(not name.endswith("tracked") for name in own) == 265
    assert taken.parts["layer4"] == 50
    assert set(taken.left) == {f"backbone.0.{name}" for name in own} | {name for name in state if not name.startswith("resnet50.")}
    del state["resnet50.bn1.weight"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(DataError, match=r"1 missing: resnet50\.bn1\.weight"):
        check_weights(outline("resnet50"), str(tmp_path / "short.pth"))


@pytest.mark.parametrize("heads", [["fc8.weight"], ["f8_3.weight", "f8_4.weight", "f8_5.weight", "f9.weight"]])
def test_a_published_file_of_resnet38_gives_its_backbone_and_its_head_is_left_out(tmp_path, heads):
    names = json.loads((HERE / "psa" / "net_resnet38_names.json").read_text())
    state = filled({**names["backbone"], **{name: names["heads"][name] for name in heads}})
    torch.save(state, tmp_path / "res38.pth")
    taken = check_weights(outline("resnet38", 8), str(tmp_path / "res38.pth"))
    assert taken.left == tuple(heads)
    assert (sum(taken.parts.values()), taken.parts["b5"], taken.parts["b7"], taken.random) == (191, 11, 16, ())
    assert str(taken).startswith("191 tensors taken (conv1a 1, b2 11, b2_1 10,")
    assert str(taken).endswith(f"; left out: {', '.join(heads)}")
    torch.save({**state, "fc9.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"1 unexpected: fc9\.weight"):
        check_weights(outline("resnet38", 8), str(tmp_path / "other.pth"))


def test_of_a_vgg_of_torchvision_it_is_told_what_stays_random(tmp_path):
    own = build_backbone("vgg16", 8)
    convolutions = [name for name in own.state_dict() if name.startswith("conv") and name.endswith("weight")]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    shapes = {f"features.{at}.weight": own.state_dict()[name].shape for at, name in zip(places, convolutions, strict=True)}
    shapes |= {name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items()}
    torch.save(filled({**shapes, "classifier.0.weight": (2, 2)}), tmp_path / "vgg16.pth")
    random = {"fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias"}
    for taken in (load_weights(own, str(tmp_path / "vgg16.pth")), check_weights(outline("vgg16", 8), str(tmp_path / "vgg16.pth"))):
        assert set(taken.random) == random
        assert taken.parts == {f"conv{group}_{k}": 2 for group, count in enumerate((2, 2, 3, 3, 3), 1) for k in range(1, count + 1)}
        assert taken.left == ("classifier.0.weight",)


def test_a_file_of_the_published_vgg_is_taken_whole(tmp_path):
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build_backbone("vgg16", 8).state_dict().items() if "to_input" not in name}
    torch.save(filled({**shapes, "fc8.weight": (20, 1024, 1, 1), "f9.weight": (448, 448, 1, 1)}), tmp_path / "vgg16.pth")
    taken = check_weights(outline("vgg16", 8), str(tmp_path / "vgg16.pth"))
    assert taken.left == ("fc8.weight", "f9.weight")
    assert len(taken.parts) == 15
    assert set(taken.parts.values()) == {2}
    assert taken.random == ()


def test_what_four_frozen_blocks_and_frozen_batchnorm_leave_is_what_the_published_code_trains():
    names = json.loads((HERE / "psa" / "net_resnet38_names.json").read_text())
    for kind, args, new in ((Classifier, (20,), 1), (AffinityNet, (), 4)):
        net = shaped(kind, "resnet38", 8, *args)
        net.backbone.freeze_batchnorm().freeze_blocks(4)
        trained = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
        inside = {name.removeprefix("backbone.") for name in trained if name.startswith("backbone.")}
        assert inside == set(names["trained"])
        assert len(inside) == 35
        assert len(trained) == 35 + new
