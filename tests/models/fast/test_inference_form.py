from __future__ import annotations

import pytest
import torch
from torch import nn

from labelseg.models.fast.inference_form import for_inference
from labelseg.models.fast.pointwise import DirectPointwise
from tests.models.encoders.test_backbones import random_backbone
from tests.models.fast.test_folding import batch_normalised_segmenter


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
@torch.no_grad()
def test_a_convolution_of_one_pixel_is_what_its_definition_says(threads, stride, bias, channels_last):
    torch.manual_seed(0)
    conv, images = nn.Conv2d(5, 7, 1, stride=stride, bias=bias), torch.randn(2, 5, 9, 12)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    expected = torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], images[:, :, ::stride, ::stride])
    if bias:
        expected = expected + conv.bias[:, None, None]
    assert DirectPointwise.can_replace(conv)
    torch.testing.assert_close(DirectPointwise.like(conv)(images), expected)


@torch.no_grad()
def test_other_convolutions_are_left_alone():
    for conv in (nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 4, 1, padding=1), nn.Linear(4, 4)):
        assert not DirectPointwise.can_replace(conv)


def test_gradients_and_bfloat16_take_the_usual_way():
    conv, images = nn.Conv2d(5, 7, 1), torch.randn(2, 5, 9, 12)
    direct = DirectPointwise.like(conv)
    direct(images).sum().backward()
    assert conv.weight.grad is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(direct(images), conv(images))
    with torch.no_grad():
        assert direct(images[:0]).shape == (0, 7, 9, 12)


@pytest.mark.parametrize(("name", "output_stride"), [("tiny", 8), ("mobilenet_v2", 16), ("resnet50", 16)])
@torch.no_grad()
def test_a_backbone_computes_the_same(threads, name, output_stride):
    backbone, images = random_backbone(name, output_stride), torch.randn(2, 3, 50, 65)
    expected = backbone(images)
    for ours, plain in zip(for_inference(backbone)(images), expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
    assert any(isinstance(module, DirectPointwise) for module in backbone.modules()) or name == "tiny"  # which has none


@torch.no_grad()
def test_a_segmenter_computes_the_same():
    net, images = batch_normalised_segmenter()
    expected = net(images)
    torch.testing.assert_close(for_inference(net)(images), expected, rtol=1e-3, atol=1e-4)
