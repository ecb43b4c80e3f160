"""Run lengths of COCO, and brushes of Label Studio, as their owners write and read them."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.exchange.shapes.brush_rle import decode_brush, encode_brush
from labelseg.exchange.shapes.run_lengths import decode_shape, encode_runs

REGION = np.zeros((5, 7), bool)
REGION[1:3, 2:5] = REGION[4, 6] = True
# What label_studio_sdk 2.1.2 writes for REGION: mask2rle(REGION.astype(np.uint8) * 255).
BY_OWNER = [0, 0, 0, 140, 57, 27, 254, 35, 0, 183, 255, 124, 2, 223, 254, 59, 0, 143, 252]


def by_chance(count):
    rng = np.random.default_rng(2)
    for _ in range(count):
        yield rng.random(rng.integers(1, 30, 2)) < rng.choice([0.02, 0.5, 0.9])


def test_a_brush_is_written_as_its_owner_writes_it():
    assert encode_brush(REGION) == BY_OWNER
    assert (decode_brush(BY_OWNER, (5, 7)) == REGION).all()


def test_a_brush_comes_back_as_it_was():
    for region in by_chance(60):
        assert (decode_brush(encode_brush(region), region.shape) == region).all()
    large = np.zeros((300, 400), bool)
    large[200:] = True
    assert (decode_brush(encode_brush(large), large.shape) == large).all()


def test_values_that_do_not_repeat_are_read_too():
    bits = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + "0" + "00" + f"{7:03b}"
    bits += "".join(f"{value:08b}" for value in (0, 0, 0, 255, 9, 9, 9, 100))
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_brush(data, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize("change", [lambda data: data[:-3], lambda data: data[:3], lambda data: [0, 0, 0, 9, *data[4:]]])
def test_a_brush_that_is_cut_or_of_another_size_is_refused(change):
    with pytest.raises(ValueError, match="expected"):
        decode_brush(change(encode_brush(REGION)), (5, 7))


def test_run_lengths_are_read_as_their_owner_reads_them():
    masks = pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    for region in by_chance(60):
        runs = encode_runs(region.astype(np.uint8))
        assert (masks.decode(runs).astype(bool) == region).all()
        assert (decode_shape(runs, region.shape) == region).all()


def test_run_lengths_as_numbers_go_down_the_columns():
    assert decode_shape({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3)).tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize(
    "shape",
    [
        None, [], [[1, 2, 3, 4]], [[0, 0, 1, 0, 1, float("nan")]], {"size": [5, 7]}, {"size": [7, 5], "counts": [35]},
        {"size": [5, 7], "counts": [36]}, {"size": [5, 7], "counts": [-1, 36]}, {"size": [5, 7], "counts": "~~"},
        {"size": [5, 7], "counts": "PPPPPPPPPPPPPPPPPPPPP"}, {"size": [5, 7], "counts": "o"}, {"size": [5, 7], "counts": "99"},
    ],
)  # fmt: skip
def test_what_is_no_shape_of_the_image_is_refused(shape):
    pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    with pytest.raises(ValueError, match="expected"):
        decode_shape(shape, (5, 7))
