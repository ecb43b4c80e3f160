"""The head of UniMatch V2: its sums written out, its published names and sizes, and its checkpoints."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from labelseg.errors import DataError, UsageError
from labelseg.methods.few_masks.setup import take_over
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.heads.dpt import DptHead
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.backbone_weights import load_weights
from tests.timm_library.library import timm

DINO = {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 28}


@pytest.fixture
def small_dino(monkeypatch):
    """Let timm make a small network of the name of DINOv2."""
    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **asked: made(name, **DINO, **asked))
    return lambda: build_backbone("timm:vit_small_patch14_dinov2", 14)


def taps_of(channels, rows=3, columns=2):
    return list(torch.randn(4, 2, channels, rows, columns, dtype=torch.float64))


def convolved(state, name, x, **how):
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **how)


def residual(state, name, x):
    inner = convolved(state, f"{name}.conv1", x.clamp(min=0), padding=1)
    return x + convolved(state, f"{name}.conv2", inner.clamp(min=0), padding=1)


def enlarged(x, rows, columns):
    """Bilinear with aligned corners, one cell after the other."""
    height, width = x.shape[2:]
    result = torch.zeros(*x.shape[:2], rows, columns, dtype=x.dtype)
    for row in range(rows):
        for column in range(columns):
            y, across = row * (height - 1) / max(rows - 1, 1), column * (width - 1) / max(columns - 1, 1)
            top, left = min(int(y), height - 1), min(int(across), width - 1)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, side = y - top, across - left
            upper = (1 - side) * x[:, :, top, left] + side * x[:, :, top, right]
            lower = (1 - side) * x[:, :, below, left] + side * x[:, :, below, right]
            result[:, :, row, column] = (1 - down) * upper + down * lower
    return result


def written_out(state, taps):
    """The head, from published names of tensors: unimatch.md 6."""
    maps = [convolved(state, f"projects.{level}", tap) for level, tap in enumerate(taps)]
    maps[0] = F.conv_transpose2d(maps[0], state["resize_layers.0.weight"], state["resize_layers.0.bias"], stride=4)
    maps[1] = F.conv_transpose2d(maps[1], state["resize_layers.1.weight"], state["resize_layers.1.bias"], stride=2)
    maps[3] = convolved(state, "resize_layers.3", maps[3], stride=2, padding=1)
    maps = [convolved(state, f"scratch.layer{level}_rn", one, padding=1) for level, one in enumerate(maps, 1)]
    total = maps[3]
    for level in (4, 3, 2, 1):
        name = f"scratch.refinenet{level}"
        total = total if level == 4 else total + residual(state, f"{name}.resConfUnit1", maps[level - 1])
        size = [2 * side for side in maps[0].shape[2:]] if level == 1 else maps[level - 2].shape[2:]
        total = convolved(state, f"{name}.out_conv", enlarged(residual(state, f"{name}.resConfUnit2", total), *size))
    hidden = convolved(state, "scratch.output_conv.0", total, padding=1).clamp(min=0)
    return convolved(state, "scratch.output_conv.2", hidden)


@pytest.mark.parametrize(("rows", "columns"), [(3, 2), (4, 4), (1, 5)])
@torch.no_grad()
def test_the_head_is_what_is_written_out(rows, columns):
    torch.manual_seed(0)
    head, taps = DptHead(16, 3, 8).double(), taps_of(16, rows, columns)
    found = head(taps)
    assert found.shape == (2, 3, 8 * rows, 8 * columns)
    torch.testing.assert_close(found, written_out(head.state_dict(), taps))


def test_all_parameters_of_the_head_are_trained():
    head = DptHead(16, 3, 8).double()
    head(taps_of(16)).square().mean().backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@pytest.mark.parametrize(
    ("channels", "sizes"),
    [(384, [48, 96, 192, 384]), (768, [96, 192, 384, 768]), (1024, [256, 512, 1024, 1024]), (1536, [1536] * 4), (4, [1, 1, 2, 4])],
)
def test_taps_are_projected_to_the_published_channels(channels, sizes):
    with torch.device("meta"):
        state = DptHead(channels, 21, 64).state_dict()
    assert [len(state[f"projects.{level}.weight"]) for level in range(4)] == sizes
    assert state["resize_layers.1.weight"].shape == (sizes[1], sizes[1], 2, 2)
    assert [state[f"scratch.layer{level}_rn.weight"].shape for level in range(1, 5)] == [(64, size, 3, 3) for size in sizes]
    assert state["scratch.output_conv.2.weight"].shape == (21, 64, 1, 1)


@torch.no_grad()
def test_logits_are_enlarged_with_aligned_corners(small_dino):
    torch.manual_seed(0)
    net = Segmenter(small_dino(), 3, "dpt", 8).eval()
    images = torch.randn(1, 3, 28, 42)
    logits = net.head(net.backbone(images))
    assert logits.shape == (1, 3, 16, 24)
    torch.testing.assert_close(net(images), enlarged(logits, 28, 42), rtol=1e-4, atol=1e-5)
    assert net(torch.randn(1, 3, 30, 35)).shape == (1, 3, 30, 35)


def test_other_backbones_have_no_such_head():
    with pytest.raises(UsageError, match=r"head dpt .* tiny is none.*--head deeplabv3plus"):
        Segmenter(build_backbone("tiny", 16), 3, "dpt")


def test_the_head_of_a_classifier_is_no_head_of_a_segmenter(tmp_path):
    torch.manual_seed(0)
    weights = str(tmp_path / "vit.pth")
    classifier = timm.create_model("test_vit")
    torch.save(classifier.state_dict(), weights)
    assert "head.weight" in classifier.state_dict()
    net = Segmenter(build_backbone("timm:test_vit", 16), 3, "dpt", 8)
    before = {name: tensor.clone() for name, tensor in net.head.state_dict().items()}
    load_weights(net.backbone, weights)
    take_over(net, None, SimpleNamespace(take="network", init="", weights=weights))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.head.state_dict().items())


def published_checkpoint(path, net, backbone):
    """Save a network as the published training does: names of DINOv2, a unit that nothing passes through, a teacher beside it."""
    state = {f"module.head.{name}": tensor for name, tensor in net.head.state_dict().items()}
    state |= {f"module.backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    state["module.backbone.mask_token"] = torch.zeros(1, 32)
    for convolution in ("conv1", "conv2"):
        idle = f"module.head.scratch.refinenet4.resConfUnit1.{convolution}"
        state |= {f"{idle}.weight": torch.ones(8, 8, 3, 3), f"{idle}.bias": torch.ones(8)}
    untrained = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"model": untrained, "model_ema": state, "epoch": 59, "previous_best": np.float64(86.3)}, path)
    return str(path)


@torch.no_grad()
def test_a_published_checkpoint_is_taken_over_whole(tmp_path, small_dino):
    torch.manual_seed(1)
    source = Segmenter(small_dino(), 3, "dpt", 8).eval()
    for parameter in source.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    weights = published_checkpoint(tmp_path / "best.pth", source, source.backbone.net)
    images = torch.randn(1, 3, 28, 28)
    net = Segmenter(small_dino(), 3, "dpt", 8).eval()
    load_weights(net.backbone, weights)
    take_over(net, None, SimpleNamespace(take="backbone", init="", weights=weights))
    assert not torch.allclose(net(images), source(images))
    take_over(net, None, SimpleNamespace(take="network", init="", weights=weights))
    torch.testing.assert_close(net(images), source(images))
    other = Segmenter(small_dino(), 4, "dpt", 8)
    with pytest.raises(DataError, match=r"best\.pth.*head\.scratch\.output_conv\.2\.weight.*--take backbone"):
        take_over(other, None, SimpleNamespace(take="network", init="", weights=weights))
