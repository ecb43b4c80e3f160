"""Tiles: where they lie, how they flow into each other, and that the whole comes out of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from labelseg.errors import UsageError
from labelseg.ops.tiles import blend_tiles, check_tiles, tile_spans, tile_weights


@pytest.mark.parametrize("length", [1, 63, 128, 129, 191, 192, 193, 300, 640, 1001])
@pytest.mark.parametrize(("tile", "overlap"), [(128, 64), (128, 4), (192, 64), (256, 128)])
def test_tiles_cover_a_side_on_the_grid_and_share_what_is_asked_for(length, tile, overlap):
    spans = tile_spans(length, tile, overlap)
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert all(start % 64 == 0 and 0 < end - start <= tile for start, end in spans)
    assert all(end - start == tile for start, end in spans[:-1])
    assert length <= tile or spans[-1][1] - spans[-1][0] > tile - 64
    assert all(one[0] < other[0] and one[1] - other[0] >= overlap for one, other in pairwise(spans))


@pytest.mark.parametrize("length", [100, 129, 193, 300, 641])
def test_weights_sum_to_one_rise_evenly_and_leave_out_what_sees_a_border(length):
    spans, overlap = tile_spans(length, 128, 64), 64
    total = np.zeros(length)
    for (start, end), weights in zip(spans, tile_weights(spans, overlap), strict=True):
        total[start:end] += weights
        assert (weights >= 0).all()
        assert not start or not weights[:16].any()
        assert end == length or not weights[-16:].any()
        assert start or (weights[:40] == 1).all() or len(spans) == 1
    np.testing.assert_allclose(total, 1, atol=1e-6)
    if length == 641:  # neighbours that share 64 pixels: a ramp of 32 in their middle
        first = tile_weights(spans, overlap)[0]
        np.testing.assert_allclose(first[80:112], 1 - (np.arange(32) + 0.5) / 32, atol=1e-6)


def put_together(size, tile, overlap, compute, classes):
    whole, times = np.full((classes, *size), np.nan, np.float32), np.zeros(size, int)
    for (rows, columns), scores in blend_tiles(size, tile, overlap, compute):
        whole[:, rows, columns] = scores
        times[rows, columns] += 1
    assert (times == 1).all()
    return whole


@pytest.mark.parametrize("size", [(100, 90), (128, 400), (300, 129), (333, 257), (193, 641)])
def test_a_network_that_sees_no_further_than_a_quarter_of_the_overlap_gives_what_it_gives_for_the_whole(size):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 17, padding=8), torch.nn.ReLU(), torch.nn.Conv2d(6, 4, 17, padding=8)).eval()
    image = torch.rand(1, 3, *size)
    with torch.inference_mode():
        whole = net(image)[0].numpy()
        calls = []

        def compute(block):
            calls.append(block)
            return net(image[:, :, *block])[0].numpy()

        found = put_together(size, 128, 64, compute, 4)  # it sees 16 pixels far
        np.testing.assert_allclose(found, whole, atol=1e-5)
        assert len(calls) > 1 or max(size) <= 128
        wider = put_together(size, 128, 32, compute, 4)
    assert max(size) <= 128 or np.abs(wider - whole).max() > 1e-3  # which it does not with 8


def test_tiles_that_disagree_flow_into_each_other_without_a_step():
    size, numbers = (300, 500), iter(range(100))

    def compute(block):
        return np.full((1, *(part.stop - part.start for part in block)), next(numbers) % 2, np.float32)

    found = put_together(size, 192, 96, compute, 1)[0]
    steps = max(np.abs(np.diff(found, axis=0)).max(), np.abs(np.diff(found, axis=1)).max())
    assert 0 < steps <= 1 / 48 + 1e-6 and found.min() == 0 and found.max() == 1


def test_blocks_are_given_as_soon_as_they_are_done_and_none_is_large():
    tops = [rows.start for (rows, _), _ in blend_tiles((1000, 300), 128, 64, lambda b: np.ones((1, b[0].stop - b[0].start, b[1].stop - b[1].start), np.float32))]  # fmt: skip # noqa: E501
    assert tops == sorted(tops)
    for (rows, columns), scores in blend_tiles((400, 300), 128, 64, lambda b: np.ones((1, 128, b[1].stop - b[1].start), np.float32)[:, : b[0].stop - b[0].start]):  # fmt: skip # noqa: E501
        assert scores.shape == (1, rows.stop - rows.start, columns.stop - columns.start) and max(scores.shape[1:]) <= 128


@pytest.mark.parametrize(("tile", "overlap"), [(0, 4), (100, 4), (128, 0), (128, 66), (128, 30), (63, 4)])
def test_tiles_that_cannot_be_laid_are_refused(tile, overlap):
    with pytest.raises(UsageError, match=r"segment (tile|overlap): expected a multiple of (64|4)"):
        check_tiles(tile, overlap, "segment")
    check_tiles(128, 64, "segment")
