"""Networks of UniMatch and PseudoSeg: published names and outputs, batch statistics, stopped gradients."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.errors import DataError
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.heads.unimatch_head import from_published_names
from labelseg.models.networks import build_from, to_model
from labelseg.models.pseudoseg_net import PseudoSegNet, SgcHead, ShiftNorm
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.segmenter_files import read_segmenter
from labelseg.models.weights.states import load_overlapping
from labelseg.ops.few_masks.sgc import attend, propagate_maps
from labelseg.training.optimization import depthwise_names, parameter_groups
from tests.reference_files import HERE, channels_first, channels_last, load


@pytest.fixture(scope="module")
def published() -> Segmenter:
    return Segmenter(build_backbone("resnet50_deep", 16), 21, "unimatch").eval()


def published_weights(names):
    """Weights that follow from the names of the tensors."""
    state = {}
    for key, shape in names.items():
        rng = np.random.RandomState(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
            continue
        if key.endswith("running_mean"):
            value = 0.1 * rng.randn(*shape)
        elif key.endswith("running_var"):
            value = 1 + 0.2 * rng.rand(*shape)
        elif len(shape) == 1 and key.endswith("weight"):
            value = (0.2 if ".bn3." in key else 1) * (1 + 0.1 * rng.randn(*shape))
        elif len(shape) == 1:
            value = 0.1 * rng.randn(*shape)
        else:
            value = rng.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(value)).float()
    return state


def names():
    return json.loads((HERE / "unimatch" / "state_dict_resnet50.json").read_text())


def test_tensors_have_the_published_names_and_shapes(published):
    own = {name: list(tensor.shape) for name, tensor in published.state_dict().items()}
    assert own == {name: list(shape) for name, shape in from_published_names({k: tuple(v) for k, v in names().items()}).items()}


def test_outputs_and_perturbed_outputs_are_those_of_the_published_network(published):
    v = load("unimatch", "arch_resnet50_small")
    published.load_state_dict(from_published_names(published_weights(names())))
    x = torch.from_numpy(np.random.RandomState(int(v["x_seed"])).randn(*v["x_shape"]).astype(np.float32))
    masks = [torch.from_numpy(v[name]).float()[:, :, None, None] for name in ("drop_c1", "drop_c4")]
    seen = {}

    def perturb(taps):
        seen["taps"] = taps
        dropped = [taps[0] * masks[0], *taps[1:-1], taps[-1] * masks[1]]
        return [torch.cat(pair) for pair in zip(taps, dropped, strict=True)]

    with torch.no_grad():
        out, out_fp = published(x, perturb).chunk(2)
    for name, tap in (("c1", seen["taps"][0]), ("c4", seen["taps"][-1])):
        np.testing.assert_allclose([tap.mean(), tap.std(), *tap.shape], v[f"{name}_stats"], rtol=1e-4)
    pyramid = published.head.head(seen["taps"][-1])
    np.testing.assert_allclose([pyramid.mean().item(), pyramid.std().item(), *pyramid.shape], v["aspp_stats"], rtol=1e-4)
    np.testing.assert_allclose(out[:, ::3, ::3, ::3], v["out"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(out_fp[:, ::3, ::3, ::3], v["out_fp"], rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in published.parameters()) / 1e6 == pytest.approx(float(v["params_m"]))


@pytest.mark.parametrize("layout", ["tensors", "training", "averaged"])
def test_a_published_checkpoint_is_loaded_by_name_and_a_wrong_one_refused(tmp_path, layout):
    net = Segmenter(build_backbone("tiny", 16), 3, "unimatch", width=16)
    file = tmp_path / "net.pth"
    tensors = {f"module.{name.removeprefix('head.')}": tensor + 1 for name, tensor in net.state_dict().items()}
    # As a training saves it: with the state of an optimiser, and scores that are numpy numbers.
    beside = {
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
        "previous_best": np.float64(71),
    }
    averaged = {"model": {name: tensor - 1 for name, tensor in tensors.items()}, "model_ema": tensors, **beside}
    torch.save({"tensors": tensors, "training": {"model": tensors, "epoch": 3, **beside}, "averaged": averaged}[layout], file)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    load_overlapping(net, read_segmenter(str(file)), "net.pth")
    assert all(torch.equal(tensor, before[name] + 1) for name, tensor in net.state_dict().items() if "num_batches" not in name)
    with pytest.raises(DataError, match=r"net\.pth.*head\.classifier\.weight.*--take backbone"):
        load_overlapping(Segmenter(build_backbone("tiny", 16), 4, "unimatch", width=16), read_segmenter(str(file)), "net.pth")


def test_parts_that_another_network_lacks_stay_and_a_classifier_has_nothing_to_give():
    segmenter = Segmenter(build_backbone("tiny", 16), 4, width=16)
    net = PseudoSegNet(build_backbone("tiny", 16), 4, width=16, key_width=8)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    load_overlapping(net, {"backbone.x": np.zeros(1), "classify.weight": np.zeros(1)}, "a classifier")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    load_overlapping(net, {name: tensor.numpy() for name, tensor in segmenter.state_dict().items()}, "a segmenter")
    for name, tensor in net.state_dict().items():
        expected = segmenter.state_dict().get(name, before[name])
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("head", ["unimatch", "deeplabv3plus", "atrous"])
def test_perturbed_taps_are_decoded_beside_clean_ones(head):
    torch.manual_seed(0)
    net = Segmenter(build_backbone("tiny", 16), 3, head, width=16).eval()
    x = torch.randn(2, 3, 33, 40)
    both = net(x, lambda taps: [torch.cat([tap, 0 * tap]) for tap in taps])
    assert both.shape == (4, 3, 33, 40)
    torch.testing.assert_close(both[:2], net(x))
    torch.testing.assert_close(both[2], both[3])


# --- PseudoSeg --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention_train", "attention_small"])
def test_the_sgc_head_is_that_of_the_published_code(name):
    v = load("pseudoseg", name)
    column = torch.cat([channels_first(v["feat16"]), channels_first(v["feat15"])], dim=1)
    classes = len(v["bn_beta"])
    head = SgcHead(column.shape[1], classes, v["key_w"].shape[1])
    with torch.no_grad():
        for part, array in (("key", "key_w"), ("query", "query_w"), ("mix", "pixnorm_w")):
            getattr(head, part).weight.copy_(torch.from_numpy(v[array]).T[:, :, None, None])
        for part, array in (("bias", "bn_beta"), ("running_mean", "bn_moving_mean"), ("running_var", "bn_moving_var")):
            getattr(head.norm, part).copy_(torch.from_numpy(v[array]))
        head.norm.num_batches_tracked.fill_(5000)
    logits = head(column, channels_first(v["cam"]), torch.from_numpy(v["valid"])[..., 0])
    np.testing.assert_allclose(channels_last(logits), v["logits"], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(head.norm.running_mean, v["bn_moving_mean_after"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.norm.running_var, v["bn_moving_var_after"], rtol=1e-4, atol=1e-6)


def test_running_statistics_are_a_plain_mean_at_first():
    norm, batches = ShiftNorm(2), torch.randn(5, 4, 2, 3, 3)
    for batch in batches:
        norm(batch)
    torch.testing.assert_close(norm.running_mean, batches.mean(dim=(0, 1, 3, 4)))
    assert not norm.weight.requires_grad


def test_loaded_statistics_are_not_forgotten_at_the_first_batch_and_initial_ones_are(net):
    tensors, meta = to_model(net, {})
    tensors["sgc.norm.running_mean"] = np.full(4, 7, np.float32)
    batch = torch.randn(4, 4, 2, 3)
    loaded = build_from(meta, tensors).sgc.norm.train()
    loaded(batch)
    torch.testing.assert_close(loaded.running_mean, 0.999 * torch.full((4,), 7.0) + 0.001 * batch.mean(dim=(0, 2, 3)))
    load_overlapping(net, {name: array for name, array in tensors.items() if not name.startswith("sgc.")}, "a segmenter")
    net.sgc.norm(batch)
    torch.testing.assert_close(net.sgc.norm.running_mean, batch.mean(dim=(0, 2, 3)))


@pytest.fixture
def net() -> PseudoSegNet:
    torch.manual_seed(0)
    return PseudoSegNet(build_backbone("tiny", 16), 4, width=16, key_width=8)


def test_a_pseudoseg_network_is_a_segmenter_with_more(net):
    net.eval()
    x = torch.randn(2, 3, 48, 64)
    plain = Segmenter(build_backbone("tiny", 16), 4, width=16).eval()
    plain.load_state_dict({name: tensor for name, tensor in net.state_dict().items() if name.startswith(("backbone.", "head."))})
    torch.testing.assert_close(net(x), plain(x))
    parts = net(x, "parts")
    assert parts.logits.shape == (2, 4, 12, 16)
    tensors, meta = to_model(net, {})
    again = build_from(json.loads(json.dumps(meta)), tensors)
    torch.testing.assert_close(again(x, "parts").high, parts.high)
    assert again.tag_logits(parts.high).shape == (2, 3)


def test_the_sgc_loss_trains_the_sgc_head_alone(net):
    parts = net(torch.randn(2, 3, 48, 64), "parts")
    net.sgc_logits(parts, torch.ones(2, 3), torch.ones(2, 12, 16)).square().mean().backward()
    trained = {name.split(".")[0] for name, parameter in net.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert trained == {"sgc"}


def test_spread_maps_are_class_logits_before_the_first_update():
    head = SgcHead(6, 3, 4).eval()
    cam, valid = torch.rand(2, 2, 3, 4), torch.ones(2, 3, 4)
    column = torch.randn(2, 6, 3, 4)
    maps = propagate_maps(cam, attend(cam, head.query(column), head.key(column), valid))
    # The BatchNorm has seen nothing: it only divides by the root of 1 + eps.
    torch.testing.assert_close(head(column, cam, valid), maps / 1.001**0.5)


def test_data_without_background_has_as_many_tags_as_classes():
    net = PseudoSegNet(build_backbone("tiny", 16), 4, width=16, background=False)
    parts = net(torch.randn(2, 3, 48, 64), "parts")
    assert net.tag_logits(parts.high).shape == (2, 4)
    assert net.sgc_logits(parts, torch.ones(2, 4), torch.ones(2, 12, 16)).shape == (2, 4, 3, 4)


def test_depthwise_convolutions_are_named():
    net = PseudoSegNet(build_backbone("mobilenet_v2", 16), 3, width=16, separable=True)
    names = depthwise_names(net)
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if name.startswith(names)}
    assert all(shape[1:] == (1, 3, 3) for shape in shapes.values())
    assert len(shapes) == sum(p.ndim == 4 and p.shape[1] == 1 for p in net.parameters())
    assert {name.split(".")[0] for name in shapes} == {"backbone", "head"}


def test_attention_has_no_weight_decay(net):
    decayed = {id(p) for group in parameter_groups(net, 0.1, undecayed=("sgc.",)) if group.weight_decay for p in group.parameters}
    convolutions = [net.sgc.key.weight, net.sgc.query.weight, net.sgc.mix.weight]
    assert not any(id(weight) in decayed for weight in convolutions)
    assert id(net.tagger.weight) in decayed
    every = [p for group in parameter_groups(net, 0.1, undecayed=("sgc.",)) for p in group.parameters]
    assert len(every) == len(list(net.parameters()))
    assert isinstance(net.sgc.norm, nn.BatchNorm2d)
