"""The scripts that write files for import-features and import-scores, with models of random weights in the place of the published ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelseg.data.scenes.drawing import write_scenes
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace

HERE = RunOptions(workers=0, create=True)
FOLDER = Path(__file__).parents[2] / "examples"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path):
    table = write_scenes(tmp_path, train=2, val=0, seed=0)
    text = "".join(f'{key} = "{value}"\n' for key, value in table.items())
    (tmp_path / "labelseg.toml").write_text(f'[data]\n{text}[propagate]\niters = 4\naffinity_kind = "features"\n')
    return tmp_path


class Tokens:
    """A vision transformer that gives the mean colours of each patch after two tokens of another kind."""

    num_prefix_tokens = 2

    def forward_features(self, x):
        colours = F.avg_pool2d(x, 14).flatten(2).transpose(1, 2)
        return torch.cat([torch.full((1, 2, 3), 99.0), colours], dim=1)


@pytest.mark.parametrize("stride", [14, 7, 9])
def test_dinov2_writes_a_feature_for_every_place(root, stride):
    script("dinov2").write_features(Tokens(), root / "images", root / "features", stride)
    Workspace(root).run("import-features", "train", options=HERE, files=str(root / "features"))
    workspace = Workspace(root)
    for image_id, item in workspace["import-features", "train"].items():
        image = workspace.dataset.image(image_id)
        cell = image[stride : 2 * stride, 2 * stride : 3 * stride].reshape(-1, 3).mean(axis=0) / 255
        expected = (cell - script("dinov2").MEAN) / script("dinov2").DEVIATION
        np.testing.assert_allclose(item["features"][1, 2].astype(float), expected, atol=0.15)
        assert item["stride"] == stride


class Generator:
    """Finds the left half and the upper half of an image."""

    def generate(self, image):
        left, upper = (np.zeros(image.shape[:2], bool) for _ in range(2))
        left[:, : image.shape[1] // 2] = upper[: image.shape[0] // 2] = True
        return [{"segmentation": left}, {"segmentation": upper}]


def test_sam_links_places_of_one_mask(root):
    script("sam").write_features(Generator(), root / "images", root / "features", 8)
    Workspace(root).run("import-features", "train", options=HERE, files=str(root / "features"))
    item = Workspace(root)["import-features", "train"]["train_0000"]["features"].astype(float)
    corners = np.sign(item[[0, -1, 0, -1], [0, 0, -1, -1]])
    assert corners.tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]]


def test_sam_without_a_mask_links_nothing():
    assert script("sam").mask_features([], (20, 30), 8).tolist() == np.zeros((3, 4, 1)).tolist()


class Block(nn.Module):
    """A block of CLIP's image transformer."""

    def __init__(self, width):
        super().__init__()
        self.attn, self.ln_1, self.ln_2 = nn.MultiheadAttention(width, 2), nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Linear(width, width)

    def attention(self, x):
        return self.attn(x, x, x, need_weights=False)[0]

    def forward(self, x):
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


def visual(width=8, dimensions=6):
    """An image transformer under CLIP's names."""
    torch.manual_seed(0)
    return SimpleNamespace(
        conv1=nn.Conv2d(3, width, 16, 16, bias=False), class_embedding=torch.randn(width), positional_embedding=torch.randn(1 + 16, width),
        ln_pre=nn.LayerNorm(width), transformer=SimpleNamespace(resblocks=[Block(width) for _ in range(3)]),
        ln_post=nn.LayerNorm(width), proj=torch.randn(width, dimensions),
    )  # fmt: skip


def encode(names):
    torch.manual_seed(len(names))
    return F.normalize(torch.randn(len(names), 6), dim=-1)


def test_clip_es_writes_a_map_of_every_tag(root):
    script("clip_es").write_scores(visual(), encode, root / "images", root / "labels.csv", root / "scores")
    Workspace(root).run("import-scores", "train", options=HERE, files=str(root / "scores"))
    workspace = Workspace(root)
    items = dict(workspace["import-scores", "train"].items())
    assert max(item["scores"].max() for item in items.values()) > 0.99
    for image_id, item in items.items():
        assert item["class_ids"].tolist() == list(workspace.dataset.tags(image_id))
        assert item["scores"].shape[1:] == tuple(round(side / 16) for side in workspace.dataset.image(image_id).shape[:2])


def test_maps_of_clip_es_are_the_gradients_of_a_chance_times_what_the_last_block_sees():
    net, image, texts = visual(), np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8), encode(["a", "b", "c"])
    found = script("clip_es").score_maps(net, image, texts, 2)
    seen = []
    last = net.transformer.resblocks[-1]
    forward = last.ln_1.forward
    last.ln_1.forward = lambda x: seen.append(forward(x)) or seen[-1]
    script("clip_es").score_maps(net, image, texts, 2)
    tokens = seen[0].detach()

    def chance(change):
        """The chance of the second text where what the last block sees is moved."""
        last.ln_1.forward = lambda x: tokens + change
        script_texts = []
        softmax = torch.Tensor.softmax
        torch.Tensor.softmax = lambda self, dim: script_texts.append(softmax(self, dim=dim)) or script_texts[-1]
        try:
            script("clip_es").score_maps(net, image, texts, 2)
        finally:
            torch.Tensor.softmax = softmax
        return float(script_texts[-1][0, 1].detach())

    weights = np.zeros(8)
    for channel in range(8):
        move = torch.zeros_like(tokens)
        move[1:, 0, channel] = 1e-2
        weights[channel] = (chance(move) - chance(-move)) / 2e-2 / 6  # 6 places
    expected = np.maximum(tokens[1:, 0].numpy() @ weights, 0).reshape(2, 3)
    expected = (expected - expected.min()) / max(expected.max() - expected.min(), 1e-12)
    np.testing.assert_allclose(found[1], expected, atol=0.05)
