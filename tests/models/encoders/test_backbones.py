from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from labelseg.errors import UsageError
from labelseg.models.encoders.registry import BACKBONES, build_backbone

QUICK = ("tiny", "mobilenet_v2", "resnet18")


def random_backbone(name: str, output_stride: int):
    """A backbone in evaluation mode whose BatchNorm statistics are not the identity."""
    torch.manual_seed(0)
    backbone = build_backbone(name, output_stride)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return backbone.eval()


@pytest.mark.parametrize(
    ("name", "stride"), [*((name, stride) for name in QUICK for stride in (8, 16, 32)), ("resnet50", 16), ("resnet101", 8)]
)
@torch.no_grad()
def test_taps_have_the_channels_and_sizes_they_announce(name, stride):
    backbone = build_backbone(name, stride).eval()
    height, width = 33, 50
    taps = backbone(torch.zeros(1, 3, height, width))
    expected = [(c, math.ceil(height / s), math.ceil(width / s)) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(tap.shape[1:]) for tap in taps] == expected
    assert backbone.strides[-1] == stride
    assert (backbone.name, backbone.output_stride) == (name, stride)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_dilation_computes_the_strided_network_on_a_finer_grid(name, stride):
    images = torch.randn(2, 3, 75, 90)
    strided, dilated = random_backbone(name, 32), random_backbone(name, stride)
    dilated.load_state_dict(strided.state_dict())
    for coarse, fine, ratio in zip(strided(images), dilated(images), (1, 1, 16 // min(16, stride), 32 // stride), strict=True):
        torch.testing.assert_close(fine[:, :, ::ratio, ::ratio], coarse, rtol=1e-3, atol=1e-4 * float(coarse.abs().max()))


@pytest.mark.parametrize("name", QUICK)
@torch.no_grad()
def test_without_dilation_a_level_has_the_same_cells_and_other_values(name):
    dilated, undilated = random_backbone(name, 16), build_backbone(name, 16, dilate=False).eval()
    undilated.load_state_dict(dilated.state_dict())
    assert {module.dilation for module in undilated.modules() if isinstance(module, nn.Conv2d)} == {(1, 1)}
    *same, last = zip(dilated(images := torch.randn(1, 3, 75, 90)), undilated(images), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert last[0].shape == last[1].shape
    assert (last[0] - last[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", QUICK)
@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch(name):
    backbone, images = random_backbone(name, 16), torch.randn(3, 3, 40, 40)
    torch.testing.assert_close(backbone(images)[-1][1:2], backbone(images[1:2])[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@torch.no_grad()
def test_stride_32_is_torchvisions_network(name):
    from labelseg.models.torchvision_shim import torchvision

    backbone = random_backbone(name, 32)
    reference = getattr(torchvision.models, name)(weights=None).eval()
    reference.load_state_dict({**reference.state_dict(), **backbone.state_dict()})
    images = torch.randn(1, 3, 64, 64)
    head = {"resnet18": "fc", "mobilenet_v2": "classifier"}[name]
    setattr(reference, head, nn.Identity())
    torch.testing.assert_close(backbone(images)[-1].mean(dim=(2, 3)), reference(images))


def test_frozen_parts_stay_as_they_are_in_training():
    backbone = random_backbone("tiny", 16).freeze_batchnorm().freeze_blocks(2).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([parameter for parameter in backbone.parameters() if parameter.requires_grad], lr=0.1)
    backbone(torch.randn(2, 3, 32, 32))[-1].square().mean().backward()
    optimizer.step()
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith("stem") for name in changed)
    assert all(before[name].ndim == 4 for name in changed)


def test_freezing_survives_the_training_mode_of_an_outer_network():
    backbone = build_backbone("tiny", 16).freeze_blocks(1)
    nn.Sequential(backbone).train()
    assert not backbone.blocks()[0].training
    assert backbone.blocks()[1].training


@pytest.mark.parametrize("name", BACKBONES)
def test_blocks_cover_all_parameters(name):
    backbone = build_backbone(name, 16)
    backbone.freeze_blocks(len(backbone.blocks()))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_tiny_is_tiny():
    assert sum(parameter.numel() for parameter in build_backbone("tiny", 16).parameters()) < 800_000


def test_unknown_name_stride_and_block_count_are_usage_errors():
    with pytest.raises(UsageError, match="mobilenet_v2"):
        build_backbone("vgg", 16)
    with pytest.raises(UsageError, match="8, 16 or 32"):
        build_backbone("tiny", 4)
    with pytest.raises(UsageError, match="0 to 9"):
        build_backbone("tiny", 16).freeze_blocks(10)


def test_torchvision_imports_in_a_fresh_interpreter():
    code = "from labelseg.models.torchvision_shim import torchvision; print(torchvision.models.resnet18.__name__)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=60, check=False
    )
    assert result.stdout == "resnet18\n", result.stderr
