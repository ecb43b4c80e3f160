from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.folding import fold_batchnorm
from labelseg.models.segmenter import Segmenter
from tests.models.encoders.test_backbones import random_backbone


@pytest.mark.parametrize(("name", "stride"), [("tiny", 8), ("mobilenet_v2", 16), ("resnet18", 8), ("resnet50", 16)])
@torch.no_grad()
def test_a_folded_backbone_computes_the_same(name, stride):
    backbone, images = random_backbone(name, stride), torch.randn(2, 3, 50, 65)
    expected = backbone(images)
    folded = fold_batchnorm(backbone)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for ours, plain in zip(folded(images), expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


@torch.no_grad()
def test_weights_bias_mean_variance_and_epsilon_all_enter():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5, eps=0.3)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), norm, nn.ReLU()).double().eval()
    images = torch.randn(1, 2, 6, 6).double()
    expected = net(images)
    torch.testing.assert_close(fold_batchnorm(copy.deepcopy(net))(images), expected)
    assert torch.equal(net(images), expected)


@torch.no_grad()
def test_normalisation_that_follows_no_convolution_stays():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3))
    assert [type(m) for m in fold_batchnorm(net)] == [nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.Conv2d, nn.GroupNorm]


def batch_normalised_segmenter():
    """A segmenter with BatchNorm in its head too, in evaluation mode, and an image for it."""
    torch.manual_seed(0)
    return Segmenter(build_backbone("tiny", 16), 4, width=16, norm="batch", separable=True).eval(), torch.randn(1, 3, 40, 48)


@torch.no_grad()
def test_batch_normalisation_of_a_head_is_folded_too():
    net, images = batch_normalised_segmenter()
    expected = net(images)
    torch.testing.assert_close(fold_batchnorm(net)(images), expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
