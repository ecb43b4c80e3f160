from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.depthwise import DilatedDepthwise, replace_dilated_depthwise
from labelseg.models.segmenter import Segmenter


@pytest.mark.parametrize("dilation", [2, 3, 6, 8, 12])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 20), (13, 6)])
def test_values_and_gradients_are_those_of_the_dilated_convolution(dilation, size, monkeypatch):
    monkeypatch.setattr("labelseg.models.fast.depthwise._in_bfloat16", lambda x: True)  # the rearrangement, at full precision
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, 3, padding=dilation, dilation=dilation, groups=4).double()
    image = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(2, 4, *size, dtype=torch.float64)
    inputs = (image, conv.weight, conv.bias)
    expected, ours = conv(image), DilatedDepthwise.like(conv)(image)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs, towards), torch.autograd.grad(expected, inputs, towards))


def test_trainings_in_bfloat16_compute_small_dilations_without_dilation(monkeypatch):
    used = []
    monkeypatch.setattr(F, "conv2d", lambda *args, original=F.conv2d, **kwargs: used.append(args[0].shape) or original(*args, **kwargs))
    conv = DilatedDepthwise.like(nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4))
    with torch.autocast("cpu", torch.bfloat16):
        conv(torch.zeros(1, 4, 6, 6))
        with torch.no_grad():
            conv(torch.zeros(1, 4, 6, 6))
    conv(torch.zeros(1, 4, 6, 6))
    assert used == [(4, 4, 3, 3), (1, 4, 6, 6), (1, 4, 6, 6)]


@pytest.mark.parametrize(("size", "calls"), [((12, 12), 0), ((9, 12), 0), ((9, 13), 1)])
def test_maps_of_two_dilations_a_side_are_computed_by_shifts(size, calls, monkeypatch):
    used = []
    monkeypatch.setattr(F, "conv2d", lambda *args, original=F.conv2d, **kwargs: used.append(args) or original(*args, **kwargs))
    conv = DilatedDepthwise.like(nn.Conv2d(4, 4, 3, padding=6, dilation=6, groups=4))
    image = torch.randn(2, 4, *size)
    with torch.autocast("cpu", torch.bfloat16):
        result = conv(image)
    assert len(used) == calls and result.dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(result.float(), conv(image), rtol=2e-2, atol=2e-2)


def test_only_what_it_can_stand_for_is_replaced():
    net = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, 2, padding=2, dilation=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2, groups=4),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=4, dilation=4, groups=4, bias=False)),
    )
    before = dict(net.named_parameters())
    replace_dilated_depthwise(net)
    assert [type(m) is DilatedDepthwise for m in (*net[:5], net[5][0])] == [True, False, False, False, False, True]
    after = dict(net.named_parameters())
    assert list(after) == list(before) and all(after[name] is before[name] for name in before)


@pytest.mark.parametrize(("stride", "expected"), [(32, 0), (16, 3), (8, 10)])
def test_mobilenet_and_the_pyramid_use_it(stride, expected):
    backbone = build_backbone("mobilenet_v2", stride)
    assert sum(isinstance(m, DilatedDepthwise) for m in backbone.modules()) == expected
    head = Segmenter(backbone, 3, width=16, separable=True).head
    assert sum(isinstance(m, DilatedDepthwise) for m in head.modules()) == 3
