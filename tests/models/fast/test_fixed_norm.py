"""Convolution, fixed normalisation and rectifier as one layer, beside the layers one after another."""

import copy

import pytest
import torch
from torch import nn

from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.depthwise import replace_dilated_depthwise
from labelseg.models.fast.fixed_norm import FoldingSequential, RectifiedConvolution, replace_sequences
from labelseg.models.fast.inference_form import for_inference


def pair(conv, *rectifier, batch=2, size=(13, 10), fixed=True):
    """The same layers one after another and replaced, with what a trained network may hold, and an image batch."""
    generator = torch.Generator().manual_seed(5)
    norm = nn.BatchNorm2d(conv.out_channels, eps=1e-2)
    for tensor in (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean):
        if tensor is not None:
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
    norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) + 0.5)
    if fixed:
        norm.requires_grad_(False).eval()
    root = nn.ModuleList([nn.Sequential(conv, norm, *rectifier)])
    replace_dilated_depthwise(root)  # torch alone computes its gradients in bfloat16 from memory that nobody wrote
    other = copy.deepcopy(root)
    replace_sequences(other)
    assert type(other[0]) is FoldingSequential and list(other.state_dict()) == list(root.state_dict())
    x = 2 * torch.randn(batch, conv.in_channels, *size, generator=generator)
    return root[0], other[0], x.contiguous(memory_format=torch.channels_last)


def passes(net, x, precision=torch.float32):
    """Result, and the gradients of the image and of each parameter, of a weighted sum of the result."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        y = net(x)
    places = torch.arange(y.numel()).reshape(y.shape)
    net.zero_grad()
    (y.double() * (places % 7 - 3)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in net.parameters() if p.requires_grad)]


CONVS = {
    "pointwise": lambda: nn.Conv2d(6, 5, 1, bias=False),
    "with a bias": lambda: nn.Conv2d(6, 5, 3, padding=1),
    "strided": lambda: nn.Conv2d(6, 5, 3, 2, 1, bias=False),
    "depthwise": lambda: nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
    "depthwise, strided": lambda: nn.Conv2d(8, 8, 3, 2, 1, groups=8),
    "depthwise, dilated": lambda: nn.Conv2d(8, 8, 3, 1, 3, 3, groups=8, bias=False),
    "depthwise, dilated, with a bias": lambda: nn.Conv2d(8, 8, 3, 1, 2, 2, groups=8),
    "depthwise, strided, without padding": lambda: nn.Conv2d(8, 8, 3, 2, 0, groups=8),
    "two groups": lambda: nn.Conv2d(8, 4, 3, 1, 1, groups=2, bias=False),
}
RECTIFIERS = {"relu6": nn.ReLU6(inplace=True), "relu": nn.ReLU(inplace=True), "none": nn.Identity(), "other": nn.Hardswish()}


@pytest.mark.parametrize("rectifier", RECTIFIERS)
@pytest.mark.parametrize("conv", CONVS)
def test_values_and_gradients_are_those_of_the_layers_one_after_another(conv, rectifier):
    plain, joined, x = pair(CONVS[conv](), RECTIFIERS[rectifier])
    for one, other in zip(passes(plain, x), passes(joined, x), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5 * (1 + float(one.abs().max())))


@pytest.mark.parametrize("size", [(60, 60), (47, 60)])
@pytest.mark.parametrize("conv", CONVS)
def test_bfloat16_is_no_further_from_the_truth_than_before(conv, size):
    plain, joined, x = pair(CONVS[conv](), nn.ReLU6(inplace=True), size=size)
    exact = passes(copy.deepcopy(plain).double(), x.double())
    for true, before, now in zip(exact, passes(plain, x, torch.bfloat16), passes(joined, x, torch.bfloat16), strict=True):
        assert before.dtype == now.dtype
        distances = [float((found.double() - true).norm() / true.norm()) for found in (before, now)]
        assert distances[1] <= 1.5 * distances[0] + 0.1


def test_nothing_is_lost_without_gradients():
    plain, joined, x = pair(CONVS["depthwise, strided"](), nn.ReLU6())
    with torch.no_grad():
        assert torch.allclose(plain(x), joined(x), atol=1e-5)


@pytest.mark.parametrize(("statistics", "gain", "shift"), [(0, 1, 1), (1, 0, 0), (1, 1, 1), (0, 1, 0), (0, 0, 1)])
def test_a_normalisation_that_learns_is_left_as_it_is(statistics, gain, shift):
    plain, joined, x = pair(CONVS["pointwise"](), nn.ReLU6(), fixed=False)
    for net in (plain, joined):
        net[1].train(bool(statistics))
        net[1].weight.requires_grad_(bool(gain)), net[1].bias.requires_grad_(bool(shift))
    for one, other in zip(passes(plain, x), passes(joined, x), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain[1].running_mean, joined[1].running_mean)


@pytest.mark.parametrize("conv", CONVS)
def test_a_rectifier_right_behind_a_convolution_or_what_folding_left_joins_it(conv):
    generator = torch.Generator().manual_seed(2)
    layer = CONVS[conv]()
    x = 4 * torch.randn(2, layer.in_channels, 9, 12, generator=generator)
    for between in ([], [nn.Identity()]):
        layers = [layer, *between, nn.ReLU6()]
        with torch.inference_mode():
            assert torch.allclose(FoldingSequential(*layers)(x), nn.Sequential(*layers)(x), atol=1e-5)


def test_types_that_one_pass_does_not_know_go_through_the_layers():
    plain, joined, x = pair(CONVS["depthwise, dilated"](), nn.ReLU6())
    exact, found = passes(plain.double(), x.double()), passes(joined.double(), x.double())
    assert all(torch.allclose(one, other, rtol=1e-12) for one, other in zip(exact, found, strict=True))
    assert joined(x.double()[:0]).shape == (0, *exact[0].shape[1:])


def test_the_whole_of_mobilenet_is_computed_so_once_it_is_fixed(monkeypatch):
    calls = []
    plain = RectifiedConvolution.apply
    monkeypatch.setattr(RectifiedConvolution, "apply", lambda *inputs: calls.append(inputs[4]) or plain(*inputs))
    net = build_backbone("mobilenet_v2", 16)
    x = torch.randn(2, 3, 96, 64)
    net.train()(x)
    assert not calls
    net.freeze_batchnorm()
    fixed = net(x)
    assert calls == [6.0] * 35  # a stem, 16 expansions, 17 depthwise layers and the last one
    with torch.inference_mode():
        folded = for_inference(net)(x)
    assert calls == [6.0] * 70
    for one, other in zip(fixed, folded, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.detach().abs().max()))
