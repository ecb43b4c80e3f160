from __future__ import annotations

from collections import Counter

import pytest

from labelseg.tuning.halves import drawn_sample, halves

CLASSES = {f"i{k:02}": ((1,), (2,), (1, 2), ())[k % 4] for k in range(25)}


def test_every_image_is_on_one_side_and_classes_on_both():
    chosen, held = halves(CLASSES, 0)
    assert sorted([*chosen, *held]) == sorted(CLASSES)
    assert (len(chosen), len(held)) == (13, 12)
    counts = [Counter(CLASSES[name] for name in side) for side in (chosen, held)]
    assert all(abs(counts[0][kind] - counts[1][kind]) <= 1 for kind in counts[0])


def test_the_seed_decides_and_the_order_of_names_does_not():
    backwards = dict(reversed(CLASSES.items()))
    assert halves(CLASSES, 1) == halves(backwards, 1) != halves(CLASSES, 2)


@pytest.mark.parametrize(("count", "sizes"), [(0, (0, 0)), (1, (1, 0)), (2, (1, 1))])
def test_few_images(count, sizes):
    assert tuple(map(len, halves(dict(list(CLASSES.items())[:count]), 0))) == sizes


def test_a_sample_is_drawn_by_name_and_seed():
    names = sorted(CLASSES)
    assert drawn_sample(names, 99) == names
    assert drawn_sample(names, 5, 1) == drawn_sample(names[::-1], 5, 1) != drawn_sample(names, 5, 2)
    assert len(set(drawn_sample(names, 5, 1))) == 5
    assert set(drawn_sample(names, 5, 1)) <= set(drawn_sample(names, 6, 1))
