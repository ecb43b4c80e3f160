"""What speaks for a class in a mask, against loops over the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.quality import Voice, at_centres, class_overlaps, class_qualities, image_quality, strongest_overlap


def slow_iou(first, second, k):
    both = either = 0
    for a, b in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
        if 255 not in (a, b):
            both += a == k and b == k
            either += k in (a, b)
    return both / either


def slow_strongest(region, scores):
    height, width = scores.shape
    cells = []
    for y in range(height):
        for x in range(width):
            row, column = int((y + 0.5) * region.shape[0] / height), int((x + 0.5) * region.shape[1] / width)
            cells.append((-float(scores[y, x]), len(cells), bool(region[row, column])))
    inside = sum(cell[2] for cell in cells)
    hits = sum(cell[2] for cell in sorted(cells)[:inside])
    return hits / (2 * inside - hits)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    first, second = (rng.choice([0, 1, 2, 255], size=(12, 18), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8) for _ in range(2))
    return first, second, rng.random((2, 6, 9)).astype(np.float16)


def test_overlaps_are_those_of_a_loop(drawn):
    first, second, _ = drawn
    found = class_overlaps(first, second)
    assert found == {k: pytest.approx(slow_iou(first, second, k)) for k in (0, 1, 2)}
    assert 9 not in found


def test_a_class_in_one_mask_alone_overlaps_not_at_all():
    assert class_overlaps(np.array([[1, 0]], np.uint8), np.array([[0, 0]], np.uint8)) == {0: 0.5, 1: 0.0}


def test_the_strongest_places_of_a_map_are_compared_with_a_region(drawn):
    first, _, scores = drawn
    assert strongest_overlap(first == 1, scores[0]) == pytest.approx(slow_strongest(first == 1, scores[0]))


def test_a_map_that_ranks_the_region_first_gives_one_whatever_its_level():
    region = np.zeros((8, 8), bool)
    region[:4, :4] = True
    assert strongest_overlap(region, np.where(region, 0.02, 0.01)) == 1
    assert strongest_overlap(region, np.where(region, 0.01, 0.02)) == 0
    assert strongest_overlap(np.zeros((8, 8), bool), np.ones((4, 4))) is None


def test_values_are_read_at_the_centres_of_a_coarser_grid():
    assert at_centres(np.arange(16).reshape(4, 4), (2, 2)).tolist() == [[5, 7], [13, 15]]
    assert at_centres(np.arange(6).reshape(2, 3), (4, 3)).tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]


def test_the_parts_of_a_class_are_those_of_loops(drawn):
    first, second, scores = drawn
    confidence = np.linspace(0, 1, first.size).reshape(first.shape)
    own = Voice(first, scores, [1, 2])
    found = class_qualities(own, [Voice(second), Voice(None, scores[::-1], [1, 2])], {1, 2}, confidence)
    assert list(found) == [1, 2]
    for k in (1, 2):
        agreement = (slow_iou(first, second, k) + slow_strongest(first == k, scores[2 - k])) / 2
        kept, sure = slow_strongest(first == k, scores[k - 1]), confidence[first == k].mean()
        parts = (found[k].agreement, found[k].kept, found[k].confidence, found[k].consistent, found[k].quality)
        assert parts == (
            pytest.approx(agreement),
            pytest.approx(kept),
            pytest.approx(sure),
            True,
            pytest.approx((agreement + kept + sure) / 3),
        )


def test_without_confidence_the_maps_tell_it():
    mask = np.array([[1, 1], [0, 0]], np.uint8)
    scores = np.array([[[0.75, 0.25], [0.9, 0.1]]], np.float32)
    assert class_qualities(Voice(mask, scores, [1]), [], None)[1].confidence == 0.5
    assert class_qualities(Voice(mask), [Voice(None, scores, [1])], None)[1].confidence == 0.5
    assert class_qualities(Voice(mask), [], None)[1].quality is None


def test_what_tags_deny_or_masks_lack_has_no_quality():
    mask = np.array([[1, 1], [0, 0]], np.uint8)
    found = class_qualities(Voice(mask), [Voice(mask)], {2})
    assert [(k, one.consistent, one.quality) for k, one in found.items()] == [(1, False, 0.0), (2, False, 0.0)]
    assert class_qualities(Voice(mask), [Voice(mask)], None)[1].quality == 1
    assert class_qualities(Voice(mask), [Voice(mask)], {1})[1].quality == 1


def test_the_background_is_weighed_where_nothing_else_is():
    empty, other = np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, 1]], np.uint8)
    found = class_qualities(Voice(empty), [Voice(other), Voice(None, np.zeros((0, 1, 1)), [])], set())
    assert {k: one.quality for k, one in found.items()} == {0: 0.75}
    assert list(class_qualities(Voice(other), [], None, background=False)) == [0, 1]


def test_the_quality_of_an_image_is_the_mean_over_its_classes():
    mask = np.array([[1, 2]], np.uint8)
    found = class_qualities(Voice(mask), [Voice(mask)], {1})
    assert image_quality(found.values()) == 0.5
    assert image_quality([]) is None
