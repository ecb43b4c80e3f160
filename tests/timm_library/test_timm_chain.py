"""A whole chain through the command, on a tiny plain transformer of timm whose weights come from a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from labelseg.cli import program
from labelseg.data.augment.transforms import normalize
from labelseg.data.scenes.drawing import write_scenes
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.weights.backbone_weights import load_weights
from labelseg.workspace import Workspace
from tests.timm_library.library import timm

VIT = "timm:test_vit"
assert timm.is_model("test_vit")

QUICK = {"epochs": "1", "batch_size": "2", "crop": "48", "min_updates": "0"}
FURTHER = {
    "train-classifier.long_side": "48,64",
    "cam.scales": "1,1.5",
    "refine.crf_iters": "1",
    "propagate.scales": "1",
    "propagate.crf": "false",
    "train-segmenter.head": "dpt",
    "train-segmenter.width": "16",
}


def call(root, *words, code=0):
    result = CliRunner().invoke(program, ["-C", str(root), *map(str, words)], prog_name="labelseg")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace of small scenes in which the chain ran."""
    root = tmp_path_factory.mktemp("timm")
    write_scenes(root / "data", train=3, val=1, seed=0)
    for folder, how in (("images", Image.Resampling.BILINEAR), ("masks", Image.Resampling.NEAREST)):
        for path in (root / "data" / folder).iterdir():
            picture = Image.open(path)
            picture.resize((picture.width // 3, picture.height // 3 + 1), how).save(path)
    torch.manual_seed(0)
    save_file(build_backbone(VIT, 16).state_dict(), root / "vit.safetensors", metadata={"license": "mit"})
    given = ("--from", root / "data", "--backbone", VIT, "--weights", root / "vit.safetensors", "--recipe", "tags-one-round", "--anyway")
    call(root / "w", "init", *given)
    for table in ("train-classifier", "train-affinity", "train-segmenter"):
        for name, value in QUICK.items():
            call(root / "w", "config", f"{table}.{name}", value)
    for key, value in FURTHER.items():
        call(root / "w", "config", key, value)
    call(root / "w", "run", "--workers", 0)
    return root / "w"


def test_every_network_is_the_one_that_was_named(root):
    for stage in ("train-classifier", "train-affinity", "train-segmenter"):
        facts = json.loads(call(root, "show", stage, "--json").stdout)
        assert (facts["network"]["backbone"], facts["network"]["licence"], facts["parameters"]["backbone"]) == (VIT, "mit", VIT)
        assert "timm" in facts["libraries"]


def test_the_licence_goes_on_with_the_weights(root):
    quick = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", value)]
    call(root, "train-segmenter", "--as", "on", "--init", "train-classifier", "--labels", "masks", *quick)
    assert json.loads(call(root, "show", "train-segmenter@on", "--json").stdout)["network"]["licence"] == "mit"
    lines = [json.loads(line) for path in (root / ".labelseg" / "runs").glob("*/log.jsonl") for line in path.read_text().splitlines()]
    logged = {(line["instance"], line["weights"], line["licence"]) for line in lines if "licence" in line}
    assert ("train-classifier", str(root.parent / "vit.safetensors"), "mit") in logged


def test_masks_are_scored_and_other_images_are_masked(root, tmp_path):
    told = json.loads(call(root, "evaluate", "--json").stdout)
    assert {"cam", "propagate", "segment"} <= {row["instance"] for row in told}
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 61, 3), np.uint8)).save(tmp_path / "other.png")
    call(root, "predict", tmp_path / "other.png", "-o", tmp_path / "out")
    assert np.asarray(Image.open(tmp_path / "out" / "masks" / "other.png")).shape == (37, 61)


def test_maps_have_a_cell_for_each_patch(root):
    for image_id, item in Workspace(root)["cam", "train"].items():
        height, width = Workspace(root).dataset.image(image_id).shape[:2]
        assert item["scores"].shape[1:] == (-(-height // 4), -(-width // 4))
        assert 0.99 <= item["scores"].max() <= 1


def test_another_network_of_timm_is_another_training(root):
    plan = call(root, "train-classifier", "--backbone", "timm:test_vit2", "--dry-run").output
    assert "parameter backbone: timm:test_vit -> timm:test_vit2" in plan


def test_boundaries_are_learned_on_tokens_too(root):
    call(
        root,
        "train-affinity",
        "--as",
        "irn",
        "--kind",
        "irn",
        *(word for k, v in QUICK.items() for word in (f"--{k.replace('_', '-')}", v)),
    )
    call(root, "propagate", "--as", "irn", "--affinity", "train-affinity@irn", "--scales", "1")
    assert len(Workspace(root)["propagate@irn", "train"]) == 3


def test_features_come_from_the_tokens(root):
    call(root, "features", "--backbone", VIT, "--weights", root.parent / "vit.safetensors", "--levels", "4", "--stride", "16")
    net = build_backbone(VIT, 16).eval()
    load_weights(net, str(root.parent / "vit.safetensors"))
    for image_id, item in Workspace(root)["features", "train"].items():
        image = Workspace(root).dataset.image(image_id)
        beyond = [(0, -side % 16) for side in image.shape[:2]]
        whole = np.pad(image, (*beyond, (0, 0)), mode="edge")
        with torch.no_grad():
            tokens = net(torch.from_numpy(normalize(whole))[None])[-1][0]
        expected = (tokens / tokens.norm(dim=0)).permute(1, 2, 0)
        np.testing.assert_allclose(item["features"], expected.numpy(), atol=2e-3)
