"""The choice of pixels on a grid, its pixels in the image, pseudo labels in order, and noise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError
from labelseg.methods.active.answering import class_ids, collect
from labelseg.methods.active.choice import choose, grid_size, in_image
from labelseg.methods.active.choice_params import Params
from labelseg.methods.active.selector_training import pseudo_labels, twins
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.segmenter import Segmenter
from labelseg.ops.active.iast import carry_thresholds, confident_labels


class Says:
    """A predictor that always gives the same logits."""

    def __init__(self, *logits):
        self.logits = np.stack(logits).astype(np.float32)

    def views(self, image):
        assert image.shape[:2] == self.logits.shape[2:]
        return self.logits


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 320))
def test_cells_of_a_grid_lie_in_different_pixels_of_the_image(height, width, side):
    grid = grid_size((height, width), side)
    assert grid[0] <= height
    assert grid[1] <= width
    assert max(grid) == (max(height, width) if side == 0 else min(side, max(height, width)))
    places = np.stack([np.arange(max(grid)) % grid[0], np.arange(max(grid)) % grid[1]], axis=1)
    pixels = in_image(places, grid, (height, width))
    assert len({tuple(p) for p in pixels.tolist()}) == len({tuple(p) for p in places.tolist()})
    np.testing.assert_array_equal(np.floor((places + 0.5) * np.array([height, width]) / np.array(grid)), pixels)


IMAGE = np.zeros((8, 10, 3), np.uint8)


def test_ppl_goes_on_where_it_stopped_until_the_budget_is_spent():
    rng = np.random.default_rng(0)
    predictor = Says(rng.standard_normal((4, 8, 10)), rng.standard_normal((4, 8, 10)))
    asked, counts = None, []
    for round_ in range(1, 6):
        found = choose("a", IMAGE, Params(round=round_, cap=10), predictor, asked, 0)
        assert all(found["asked"][y, x] == round_ for y, x in found["points"])
        counts.append(len(found["points"]))
        asked = found["asked"]
    assert counts == [4, 4, 2, 0, 0]
    assert (asked > 0).sum() == 10


def test_ripu_keeps_away_from_what_it_asked_before():
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((3, 8, 10))
    params = Params(strategy="ripu", round=1, region=2, cap=0)
    first = choose("a", IMAGE, params, Says(logits), None, 2)
    second = choose("a", IMAGE, Params(strategy="ripu", round=2, region=2, cap=0), Says(logits), first["asked"], 2)
    points = np.concatenate([first["points"], second["points"]])
    apart = np.abs(points[:, None] - points[None]).max(axis=2)
    assert apart[~np.eye(len(points), dtype=bool)].min() > 2


def test_another_grid_than_before_is_refused():
    with pytest.raises(DataError, match="labor-select for a: the grid is 4 x 5 pixels, that of labor-select@1 8 x 10"):
        choose("a", IMAGE, Params(strategy="random", round=2, grid=5), None, np.zeros((8, 10), np.uint8), 2)


def test_thresholds_go_from_group_to_group_in_the_order_of_images():
    torch.manual_seed(0)
    items = [SimpleNamespace(id=f"{k}", image=lambda k=k: np.full((4, 4, 3), k, np.uint8)) for k in range(5)]
    shares = np.random.default_rng(2).dirichlet(np.ones(3) / 2, (5, 4, 4)).transpose(0, 3, 1, 2)
    predictor = SimpleNamespace(multi_scale=lambda image, scales, flip: [np.log(shares[image[0, 0, 0]])[None].astype(np.float32)])
    found = pseudo_labels(items, predictor, 3, 0.2, 0.9, 8.0, 2)
    thresholds = np.full(3, 0.9)
    expected = {}
    for group in ([0, 1], [2, 3], [4]):
        images = [torch.from_numpy(np.log(shares[k]).astype(np.float32)).softmax(0).numpy() for k in group]
        thresholds = carry_thresholds(thresholds, images, 0.2)
        expected |= {str(k): confident_labels(image, thresholds) for k, image in zip(group, images, strict=True)}
    np.testing.assert_allclose(found.thresholds, thresholds, rtol=1e-9)
    for item in items:
        np.testing.assert_array_equal(found(item), expected[item.id])
    assert found.share() == pytest.approx(np.mean([label != IGNORE for label in expected.values()]))


def test_a_second_head_begins_near_the_first_or_anew():
    torch.manual_seed(0)
    first = Segmenter(build_backbone("tiny", 16), 3, "deeplabv2")
    own = torch.cat([p.detach().ravel() for p in first.head.parameters()])
    for second, low, high in (("nudged", 5e-4, 2e-3), ("fresh", 5e-3, 1.0)):
        net = twins(first, second, 1e-3, 0)
        again = twins(first, second, 1e-3, 0)
        other = torch.cat([p.detach().ravel() for p in net.second.parameters()])
        assert low < (own - other).std().item() < high
        torch.testing.assert_close(other, torch.cat([p.detach().ravel() for p in again.second.parameters()]), rtol=0, atol=0)


def test_answers_are_found_by_their_pixel():
    item = SimpleNamespace(id="a", answers=((0, 1, "dog"), (2, 3, None), (9, 9, "cat")))
    points = np.array([[2, 3], [0, 1], [1, 1]])
    assert class_ids(item, points, ("cat", "dog"), "labor-annotate@1").tolist() == [IGNORE, 1, -1]
    with pytest.raises(DataError, match="labor-annotate@1: the answer at row 0, column 1 of 'a' is 'dog', which is no class"):
        class_ids(item, points, ("cat",), "labor-annotate@1")


def test_answers_of_rounds_are_put_one_after_the_other():
    size = np.array([3, 4])
    first = collect({"points": np.array([[0, 1]]), "image_size": size}, None, np.array([2]), 1)
    both = collect({"points": np.array([[2, 3], [0, 0], [1, 1]]), "image_size": size}, first, np.array([0, -1, IGNORE]), 2)
    assert both["points"].tolist() == [[0, 1], [2, 3], [1, 1]]
    assert (both["point_labels"].tolist(), both["rounds"].tolist()) == ([2, 0, IGNORE], [1, 2, 2])
    assert both["mask"].tolist() == [[IGNORE, 2, IGNORE, IGNORE], [IGNORE] * 4, [IGNORE, IGNORE, IGNORE, 0]]
    none = collect({"points": np.zeros((0, 2), np.int32), "image_size": size}, None, np.zeros(0, np.int64), 1)
    assert none["points"].shape == (0, 2)
    assert (none["mask"] == IGNORE).all()
