"""The walk over features, as the stage writes it, and the features of a backbone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from labelseg.errors import DataError, UsageError
from labelseg.models.encoders.registry import build_backbone
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.plan.graph import resolve
from labelseg.stages import STAGES
from tests.stages.contract import by_hand

STAGE = {stage.name: stage for stage in STAGES}
SIZE, STRIDE = (60, 91), 6
GRID = (10, 16)


def walk(cams, features, stride=STRIDE, size=SIZE, **settings):
    """Run the stage over given features, from maps (C, h, w) of the classes 1 to C."""
    sources = {
        "cam": {"scores": cams, "class_ids": np.arange(1, len(cams) + 1)},
        "features": {"features": features, "stride": np.array(stride, np.int32)},
    }
    params = STAGE["propagate"].params(affinity_kind="features", **settings)
    return STAGE["propagate"].run(by_hand.inputs(), params)(by_hand.HandItem("one", np.zeros((*size, 3), np.uint8), None, sources))


def two_regions(column=7):
    """Features that point one way left of a column of the grid and another way from it on, each cell of its own length."""
    rng = np.random.default_rng(0)
    values = np.zeros((*GRID, 3))
    values[:, :column, 0] = 1
    values[:, column:, 1] = 1
    return (values * rng.uniform(0.1, 30, (*GRID, 1))).astype(np.float16)


def test_a_walk_fills_a_region_and_does_not_cross_into_another():
    cams = np.zeros((1, *GRID), np.float32)
    cams[0, 4:6, 2:4] = 1  # seen in part of the left region
    walked = walk(cams, two_regions(), iters=600, tolerance=0.0)
    inside, outside = walked["mask"][:, : 6 * STRIDE], walked["mask"][:, 9 * STRIDE :]
    assert (inside == 1).all()
    assert (outside == 0).all()
    assert walked["scores"][0][:, -10:].max() == 0
    crossed = walk(cams, np.ones((*GRID, 3), np.float16), iters=600)
    assert (crossed["mask"][:, 9 * STRIDE :] == 1).mean() > 0.5


def test_lengths_of_features_change_nothing():
    rng = np.random.default_rng(1)
    cams, features = rng.random((2, *GRID)).astype(np.float32), rng.standard_normal((*GRID, 5)) + 0.5
    one, two = (walk(cams, features * factor, iters=20) for factor in (1, rng.uniform(0.01, 100, (*GRID, 1))))
    for name in one:
        np.testing.assert_allclose(one[name].astype(float), two[name], atol=1e-3)


def test_features_walk_on_their_own_grid_whatever_the_scales_of_others():
    cams, features = np.random.default_rng(4).random((2, *GRID)).astype(np.float32), two_regions()
    one, two = (walk(cams, features, iters=20, scales=scales) for scales in ((1.0,), (0.5, 1.5)))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(("size", "stride"), [((60, 91), 6), ((5, 9), 2), ((1, 1), 14), ((33, 8), 16)])
def test_a_constant_map_stays_constant(size, stride):
    grid = [-(-side // stride) for side in size]
    features = np.random.default_rng(2).standard_normal((*grid, 4)).astype(np.float16)
    scores = walk(np.full((1, *grid), 0.4, np.float32), features, stride, size)["scores"]
    np.testing.assert_allclose(scores, 1, atol=2e-3)  # each map is divided by its maximum


def test_features_of_another_grid_are_refused():
    with pytest.raises(DataError, match=r"stride of 6: expected 10 x 16 for an image of 60 x 91 pixels, got 16 x 10"):
        walk(np.ones((1, *GRID), np.float32), np.ones((GRID[1], GRID[0], 3), np.float16))


def test_features_have_no_boundaries_to_damp_maps_at():
    with pytest.raises(UsageError, match=r"start irn damps maps at boundaries, which features does not give"):
        walk(np.ones((1, *GRID), np.float32), two_regions(), start="irn")


def test_a_walk_over_features_reads_them_and_no_affinity_model(tmp_path):
    settings = (
        '[propagate]\naffinity_kind = "features"\n[propagate.wrong]\nfeatures = "cam"\n[propagate.learned]\naffinity_kind = "learned"\n'
    )
    (tmp_path / "labelseg.toml").write_text(settings)
    config = Config.load(tmp_path, STAGES, {})
    assert {node.instance for node in resolve(config, "propagate", "train")} == {"train-classifier", "cam", "features", "propagate"}
    assert "features" not in {node.instance for node in resolve(config, "propagate@learned", "train")}
    with pytest.raises(UsageError, match=r"propagate@wrong --features cam: cam writes no features\. Name one of: features"):
        resolve(config, "propagate@wrong", "train")


def test_weights_of_a_file_are_those_of_the_features(tmp_path):
    torch.manual_seed(7)
    backbone = build_backbone("tiny", 16)
    save_file(backbone.state_dict(), tmp_path / "net.safetensors")
    item = by_hand.HandItem("one", by_hand.picture(), None)
    with torch.inference_mode():
        filled = np.pad(by_hand.picture(), ((0, 4), (0, 4), (0, 0)), mode="edge")
        taps = backbone.eval()(torch.from_numpy(by_hand.normalize(filled))[None])
    expected = taps[1][0].numpy().transpose(1, 2, 0)
    expected = expected / np.linalg.norm(expected, axis=-1, keepdims=True).clip(1e-12)
    params = STAGE["features"].params(backbone="tiny", weights=str(tmp_path / "net.safetensors"), levels=(2,))
    found = STAGE["features"].run(by_hand.inputs(), params)(item)
    assert found["features"].shape == (6, 8, 48)
    np.testing.assert_allclose(found["features"].astype(float), expected, atol=1e-3)


def test_weights_that_went_name_the_next_command():
    inputs = by_hand.inputs()
    inputs.instance = "features"
    with pytest.raises(DataError, match=r"features: .*gone\.safetensors: no such file.*labelseg config features\.weights FILE"):
        STAGE["features"].run(inputs, STAGE["features"].params(backbone="tiny", weights="gone.safetensors"))
