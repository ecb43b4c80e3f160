"""Boxes of CutMix and cutout, against recorded draws of the published code."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.few_masks.cutmix import NO_BOX, cutmix_box, cutout_box
from tests.reference_files import load


def statistics(boxes, side):
    """What the recorded statistics say, of rows (applied, y, x, h, w)."""
    drawn = boxes[boxes[:, 0] == 1].astype(float)
    _, y, x, h, w = drawn.T
    area, ratio = h * w / side**2, h / w
    return [
        len(drawn) / len(boxes), area.mean(), area.std(), area.min(), area.max(),
        ratio.mean(), np.median(ratio), ratio.min(), ratio.max(), x.mean() / side, y.mean() / side,
    ]  # fmt: skip


CASES = [(321, 50), (513, 50), (801, 50), (64, 100)]


@pytest.mark.parametrize(("side", "percent"), CASES)
def test_boxes_are_distributed_as_the_published_ones(side, percent):
    v = load("unimatch", "cutmix_boxes")
    recorded = v[f"box_{side}_p{percent}"]
    np.testing.assert_allclose(statistics(recorded, side), v[f"stats_box_{side}_p{percent}"], rtol=1e-6)
    rng = np.random.default_rng(side)
    own = [cutmix_box((side, side), rng, percent / 100) for _ in range(4000)]
    found = statistics(np.array([(box != NO_BOX, *box) for box in own]), side)
    expected = v[f"stats_box_{side}_p{percent}"]
    # rate, mean and deviation of the area; mean and median ratio; mean place: four deviations of their sampling errors
    tolerances = {0: 0.05, 1: 0.015, 2: 0.01, 5: 0.15, 6: 0.2, 9: 0.03, 10: 0.03}
    for index, tolerance in tolerances.items():
        assert found[index] == pytest.approx(expected[index], abs=tolerance), v["stats_columns"][index]
    assert found[3] > 0.015
    assert found[4] <= 0.4


def test_boxes_lie_inside_and_the_area_is_kept_when_ratio_and_corner_are_drawn_again():
    rng = np.random.default_rng(0)
    boxes = np.array([cutmix_box((40, 90), rng, 1.0) for _ in range(3000)])
    top, left, height, width = boxes.T
    assert (top + height).max() <= 40
    assert (left + width).max() <= 90
    shares = height * width / 3600
    np.testing.assert_allclose(np.histogram(shares, bins=4, range=(0.02, 0.4))[0] / 3000, 0.25, atol=0.06)


def test_cutout_is_a_square_cut_at_the_borders():
    rng = np.random.default_rng(0)
    boxes = np.array([cutout_box((40, 56), 8, rng) for _ in range(2000)])
    top, _left, height, width = boxes.T
    assert (height.min(), height.max(), width.min(), width.max()) == (8, 16, 8, 16)
    assert (top + height).max() == 40
    np.testing.assert_allclose(np.mean(height == 16), 1 - 15 / 40, atol=0.05)


def test_recorded_cutouts_are_such_boxes():
    v = load("pseudoseg", "cutout_scale")
    half, rng = int(v["pad_size"]), np.random.default_rng(0)
    ours = {tuple(cutout_box(v["cut"].shape[1:], half, rng)) for _ in range(30_000)}  # of 2,240 places
    for cut, label, valid in zip(v["cut"], v["label"], v["valid"], strict=True):
        rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
        assert cut.sum() == len(rows) * len(columns)  # a solid rectangle
        assert (rows[0], columns[0], len(rows), len(columns)) in ours
        np.testing.assert_array_equal(label, np.where(cut, 255, v["label_in"][..., 0]))
        np.testing.assert_array_equal(valid, np.where(cut, 0, v["valid_in"][..., 0]))
