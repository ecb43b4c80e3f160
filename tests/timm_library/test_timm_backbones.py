"""Backbones of timm: their maps are those of timm's own forward passes, and nothing of a file of weights gets lost unsaid."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from labelseg.data.augment.transforms import IMAGENET_MEAN, IMAGENET_STD
from labelseg.errors import DataError, UsageError
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone, build_like
from labelseg.models.encoders.timm_library.plain_vit import PlainViT
from labelseg.models.fast.inference_form import for_inference
from labelseg.models.networks import build_from, to_model
from labelseg.models.weights.backbone_weights import check_weights, load_weights, outline
from labelseg.models.weights.weight_files import file_licence
from tests.timm_library.library import timm

SMALL = {"embed_dim": 32, "depth": 6, "num_heads": 2}
# One of each kind: class token and learned positions, registers and a layer scale, rotations, both with a mean of its own, distilled.
TRANSFORMERS = {
    "test_vit": {},
    "vit_small_patch14_reg4_dinov2": {**SMALL, "img_size": 42},
    "vit_small_patch16_dinov3": SMALL,
    "eva02_tiny_patch14_224": SMALL,
    "deit_tiny_distilled_patch16_224": SMALL,
}
PYRAMIDS = ("test_resnet", "test_convnext", "test_efficientnet", "test_byobnet")


def randomised(net: nn.Module) -> nn.Module:
    """Give every tensor of a network random values, so that no layer is the identity."""
    torch.manual_seed(3)
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            gains = value.ndim == 1 and not name.endswith(("bias", "running_mean"))
            value.copy_(torch.randn_like(value) * 0.2 + gains)
            if name.endswith("running_var"):
                value.abs_().add_(0.5)
    return net.eval()


def transformer(name: str, **options):
    """A small network of timm with random tensors, and another one with the same tensors as a backbone."""
    made = {**TRANSFORMERS[name], "dynamic_img_size": True}
    own = randomised(timm.create_model(name, **made, **options))
    net = timm.create_model(name, **made)
    net.load_state_dict(own.state_dict())
    return own, PlainViT(f"timm:{name}", net=net).eval()


def normalised(pixels: torch.Tensor, net: nn.Module) -> torch.Tensor:
    """Normalise pixels (B, 3, H, W) in [0, 1] by the statistics of a network of timm."""
    mean, std = (torch.tensor(net.pretrained_cfg[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    return (pixels - mean) / std


def given(pixels: torch.Tensor) -> torch.Tensor:
    """Normalise pixels as all images are that reach a backbone."""
    return (pixels - torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1)) / torch.tensor(IMAGENET_STD).reshape(3, 1, 1)


def outputs_of(net: nn.Module, names: list[str], images: torch.Tensor) -> list[torch.Tensor]:
    """What parts of a network give while it computes its features."""
    found: dict[str, torch.Tensor] = {}
    hooks = [net.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, out)) for name in names]
    net.forward_features(images)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in names]


def token_maps(net: nn.Module, blocks: tuple[int, ...], images: torch.Tensor, grid: tuple[int, int]) -> list[torch.Tensor]:
    """Tokens after blocks, counted from 1, normalised by the last layer, without class and register tokens, as maps."""
    tokens = outputs_of(net, [f"blocks.{block - 1}" for block in blocks], images)
    return [net.norm(one)[:, net.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid) for one in tokens]


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_taps_of_a_transformer_are_its_normalised_patch_tokens(name):
    net, backbone = transformer(name)
    patch = backbone.patch
    pixels = torch.rand(2, 3, 3 * patch, 5 * patch)
    depth = {12: (3, 6, 9, 12), 6: (2, 3, 5, 6)}[len(net.blocks)]
    stem, *expected = token_maps(net, (1, *depth), normalised(pixels, net), (3, 5))
    for found, wanted in zip(backbone(given(pixels)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    levels = backbone.levels(given(pixels))
    torch.testing.assert_close(levels[0], stem, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(one, other) for one, other in zip(levels[1:], backbone(given(pixels)), strict=True))
    assert expected[0].std() > 0.1 and (expected[0] - expected[-1]).abs().mean() > 0.1  # or the comparison would say little


@pytest.mark.parametrize(("depth", "blocks"), [(12, (3, 6, 9, 12)), (24, (5, 12, 18, 24)), (40, (10, 20, 30, 40)), (2, (1, 1, 2, 2))])
@torch.no_grad()
def test_the_published_blocks_are_tapped(depth, blocks):
    made = {"embed_dim": 8, "num_heads": 1, "img_size": 28, "depth": depth, "dynamic_img_size": True}
    net = randomised(timm.create_model("vit_small_patch14_dinov2", **made))
    backbone = PlainViT("timm:vit_small_patch14_dinov2", net=net).eval()
    images = torch.rand(1, 3, 28, 28)
    for found, block in zip(backbone(images), blocks, strict=True):
        torch.testing.assert_close(found, *token_maps(net, (block,), images, (2, 2)))


@pytest.mark.parametrize(("height", "width"), [(33, 47), (16, 31), (5, 50)])
@torch.no_grad()
def test_an_image_of_any_size_is_filled_up_and_its_tokens_cover_it_evenly(height, width):
    net, backbone = transformer("test_vit", dynamic_img_pad=True)
    pixels = torch.rand(1, 3, height, width)
    rows, columns = math.ceil(height / 16), math.ceil(width / 16)
    whole = token_maps(net, (6,), normalised(pixels, net), (rows, columns))[0][0]
    found = backbone(given(pixels))[-1][0]
    assert found.shape == (64, rows, columns)
    for row in range(rows):
        for column in range(columns):
            y, x = (row + 0.5) * height / rows / 16 - 0.5, (column + 0.5) * width / columns / 16 - 0.5
            y, x = max(y, 0.0), max(x, 0.0)
            (top, down), (left, right) = ((int(at), at - int(at)) for at in (y, x))
            below, beside = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = (1 - right) * whole[:, top, left] + right * whole[:, top, beside]
            lower = (1 - right) * whole[:, below, left] + right * whole[:, below, beside]
            torch.testing.assert_close(found[:, row, column], (1 - down) * upper + down * lower, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PYRAMIDS)
@pytest.mark.parametrize("stride", [8, 16, 32])
@torch.no_grad()
def test_levels_of_a_pyramid_are_those_of_timm(name, stride):
    net = randomised(timm.create_model(name, **({} if stride == 32 else {"output_stride": stride})))
    backbone = build_backbone(f"timm:{name}", stride).eval()
    backbone.net.load_state_dict(net.state_dict(), strict=False)
    pixels = torch.rand(1, 3, 64, 96)
    stem, *taps = backbone.levels(given(pixels))
    wanted = outputs_of(net, [level["module"] for level in net.feature_info], normalised(pixels, net))
    for found, expected, channels, cell in zip(taps, wanted[-4:], backbone.channels, backbone.strides, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        assert found.shape[1:] == (channels, 64 // cell, 96 // cell)
    assert backbone.strides[-1] == backbone.output_stride == stride
    assert stem.shape[1:] == (backbone.stem_channels, 16, 24)
    if len(wanted) == 4:
        assert torch.equal(stem, taps[0])


@pytest.mark.parametrize("stride", [8, 16, 32])
@torch.no_grad()
def test_resnet_of_timm_is_that_of_torchvision(stride):
    own = randomised(build_backbone("resnet18", stride))
    backbone = build_backbone("timm:resnet18", stride).eval()
    backbone.net.load_state_dict(own.state_dict())
    images = torch.randn(1, 3, 64, 96)
    assert (backbone.stem_channels, backbone.channels, backbone.strides) == (own.stem_channels, own.channels, own.strides)
    for found, expected in zip(backbone.levels(images), own.levels(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 16), ("test_convnext", 8), ("test_efficientnet", 32), ("test_vit", 16)])
@torch.no_grad()
def test_taps_have_the_sizes_they_announce(name, stride):
    backbone = build_backbone(f"timm:{name}", stride).eval()
    height, width = 35, 50
    expected = [(c, math.ceil(height / s), math.ceil(width / s)) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(tap.shape[1:]) for tap in backbone(torch.zeros(1, 3, height, width))] == expected
    assert (backbone.name, backbone.output_stride) == (f"timm:{name}", stride)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_byobnet", "test_vit"])
@torch.no_grad()
def test_the_form_for_inference_computes_the_same(name):
    torch.manual_seed(0)
    net = Classifier(build_backbone(f"timm:{name}", 16), 3)
    randomised(net.backbone)
    images = torch.randn(2, 3, 48, 64)
    net.classify.weight = nn.Parameter(torch.randn_like(net.classify.weight))
    expected = net.cam(images)
    assert expected.std() > 0
    torch.testing.assert_close(for_inference(net).cam(images), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@torch.no_grad()
def test_logits_of_a_transformer_are_means_of_its_activation_maps():
    torch.manual_seed(0)
    net = Classifier(build_backbone("timm:test_vit", 16), 3).eval()
    with torch.no_grad():
        net.classify.weight.abs_()
    images = torch.randn(2, 3, 48, 64)
    maps = net.classify(net.backbone(images)[-1])
    assert maps.shape == (2, 3, 3, 4)
    torch.testing.assert_close(net(images), maps.mean(dim=(2, 3)))
    torch.testing.assert_close(net.cam(images), maps.relu())


# --- what is frozen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "test_efficientnet"])
def test_blocks_cover_all_parameters(name):
    backbone = build_backbone(f"timm:{name}", 16)
    backbone.freeze_blocks(len(backbone.blocks()))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_the_first_block_of_a_transformer_comes_with_its_position_embeddings():
    backbone = build_backbone("timm:test_vit", 16).freeze_blocks(2)
    fixed = {name.split(".")[1] for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert fixed == {"patch_embed", "pos_embed", "cls_token", "blocks"}
    assert backbone.net.blocks[1].mlp.fc1.weight.requires_grad
    assert all(parameter.requires_grad for parameter in build_backbone("timm:test_vit", 16).freeze_blocks(0).parameters())


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_every_parameter_is_trained(name):
    backbone = build_backbone(f"timm:{name}", 16).train()
    sum(level.square().mean() for level in backbone.levels(torch.randn(2, 3, 32, 32))).backward()
    assert [key for key, parameter in backbone.named_parameters() if parameter.grad is None] == []


# --- files of weights -------------------------------------------------------------------------------------------------


def write(path, state, **metadata):
    save_file({name: value.contiguous() for name, value in state.items()}, path, metadata=metadata or None)
    return path


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "test_efficientnet"])
def test_a_file_of_timm_is_loaded_and_its_head_left_out(tmp_path, name):
    net = randomised(timm.create_model(name))
    path = write(tmp_path / "model.safetensors", net.state_dict())
    backbone = build_backbone(f"timm:{name}", 16)
    check_weights(outline(f"timm:{name}"), str(path))
    load_weights(backbone, str(path))
    own = backbone.net.state_dict()
    assert own.keys() < net.state_dict().keys()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in own.items() if "num_batches" not in key)


def test_a_file_of_this_project_is_loaded(tmp_path):
    net = Classifier(randomised(build_backbone("timm:test_vit", 16)), 3)
    path = write(tmp_path / "model.safetensors", net.state_dict())
    backbone = build_backbone("timm:test_vit", 16)
    load_weights(backbone, str(path))
    assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in net.backbone.state_dict().items())


def test_position_embeddings_of_another_grid_are_resampled(tmp_path):
    state = randomised(timm.create_model("test_vit")).state_dict()
    positions = torch.randn(1, 1 + 6 * 6, 64)
    load_weights(backbone := build_backbone("timm:test_vit", 16), str(write(tmp_path / "a.safetensors", {**state, "pos_embed": positions})))
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (6, 6))
    expected = F.interpolate(grid, size=(10, 10), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(backbone.net.pos_embed[:, 1:], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.net.pos_embed[:, :1], positions[:, :1])


@torch.no_grad()
def test_names_of_the_authors_of_dinov2_are_those_of_timm(tmp_path, monkeypatch):
    options = {**SMALL, "img_size": 42}
    net = randomised(timm.create_model("vit_small_patch14_reg4_dinov2", **options))
    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **asked: made(name, **options, **asked))
    state = {("register_tokens" if name == "reg_token" else name): value for name, value in net.state_dict().items()}
    # The authors keep the positions of the class token and the patches in one tensor.
    state |= {"pos_embed": torch.cat([torch.zeros_like(net.cls_token), net.pos_embed], dim=1), "mask_token": torch.zeros(1, 32)}
    torch.save({"model": {f"module.backbone.{name}": value for name, value in state.items()}}, tmp_path / "best.pth")
    backbone = build_backbone("timm:vit_small_patch14_reg4_dinov2", 14)
    load_weights(backbone, str(tmp_path / "best.pth"))
    images = torch.rand(1, 3, 42, 42)
    torch.testing.assert_close(backbone.eval()(images)[-1].flatten(2).transpose(1, 2), net.forward_features(images)[:, 5:])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: {**state, "blocks.0.extra": torch.zeros(1)}, r"1 unexpected: blocks\.0\.extra"),
        (lambda state: {k: v for k, v in state.items() if k != "norm.bias"}, r"1 missing: norm\.bias"),
        (lambda state: {**state, "norm.bias": torch.zeros(5)}, r"1 of another shape: norm\.bias \(expected \(64,\), got \(5,\)\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, told):
    path = write(tmp_path / "a.safetensors", change(timm.create_model("test_vit").state_dict()))
    for refuse in (
        lambda: load_weights(build_backbone("timm:test_vit", 16), str(path)),
        lambda: check_weights(outline("timm:test_vit"), str(path)),
    ):
        with pytest.raises(DataError, match=rf"a\.safetensors for timm:test_vit: .*{told}"):
            refuse()


@pytest.mark.parametrize(("metadata", "licence"), [({"license": "apache-2.0"}, "apache-2.0"), ({"Licence": "cc-by"}, "cc-by"), ({}, "")])
def test_the_licence_of_a_file_stays_with_the_network(tmp_path, metadata, licence):
    path = write(tmp_path / "a.safetensors", timm.create_model("test_resnet").state_dict(), format="pt", **metadata)
    backbone = build_backbone("timm:test_resnet", 16)
    load_weights(backbone, str(path))
    assert file_licence(path) == backbone.licence == build_like(backbone).licence == licence
    tensors, meta = to_model(Classifier(backbone, 3), {})
    assert meta.get("licence", "") == licence and ("licence" in meta) is bool(licence)
    assert build_from(meta, tensors).backbone.licence == licence


@torch.no_grad()
def test_a_network_is_rebuilt_from_its_record():
    net = Classifier(randomised(build_backbone("timm:test_vit", 16)), 3).eval()
    tensors, meta = to_model(net, {})
    assert (meta["backbone"], meta["output_stride"]) == ("timm:test_vit", 16)
    images = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(build_from(meta, tensors)(images), net(images))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stride", "told"),
    [
        ("timm:test_vitt", 16, r"knows no network of that name\. Did you mean 'timm:test_vit.*list_models"),
        ("timm:hf-hub:timm/test_vit.r160_in1k", 16, "knows no network of that name"),
        ("timm:test_vit.of_nobody", 16, r"knows no such weights\. Did you mean 'timm:test_vit\.r160_in1k'|Known: timm:test_vit\.r160_in1k"),
        ("timm:test_vit", 8, "expected --output-stride 16, or the usual 16.*got 8"),
        ("timm:densenet121", 16, "does not make it with output stride 16.*--output-stride 32"),
        ("timm:test_vit_relpos", 32, "strides 4, 8, 16, 32, found 16, 16"),
        ("timm:test_maxvit", 32, r"any size, found one for a single size \(height \(24\) must be divisible by window"),
        ("timm:test_coatnet", 32, "any size, found one for a single size"),
        ("timm:test_resnet", 4, "expected 8, 16 or 32, got 4"),
    ],
)
def test_what_cannot_be_built_is_a_usage_error(name, stride, told):
    with pytest.raises(UsageError, match=told):
        build_backbone(name, stride)


def test_an_undilated_network_is_refused():
    with pytest.raises(UsageError, match="Leave out --no-dilate"):
        build_backbone("timm:test_resnet", 16, dilate=False)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install labelseg\[timm\]"):
        build_backbone("timm:test_vit", 16)


@pytest.mark.parametrize("version", ["1.0.30", "0.9.16", "1.0.9.dev0"])
def test_an_older_timm_is_refused(monkeypatch, version):
    monkeypatch.setattr(timm, "__version__", version)
    with pytest.raises(
        UsageError, match=rf"expected timm 1\.0\.31 or later, found {version}\. Run: pip install --upgrade labelseg\[timm\]"
    ):
        build_backbone("timm:test_vit", 16)


def test_no_weights_are_downloaded_unasked(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("something was downloaded"))
    backbone = build_backbone("timm:test_vit.r160_in1k", 16)
    with pytest.raises(UsageError, match=r"hf download timm/test_vit\.r160_in1k model\.safetensors.*licence apache-2\.0"):
        load_weights(backbone, "imagenet")
    with pytest.raises(UsageError, match="hf download"):
        check_weights(outline("timm:test_vit"), "imagenet")
    check_weights(outline("timm:test_vit"), "none")
