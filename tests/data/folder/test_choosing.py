"""Choosing the few images to label."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.data.folder.choosing import choose_images
from labelseg.errors import UsageError

RNG = np.random.default_rng(0)
SHARES = np.array([0.5, 0.2, 0.05, 0.01])
CLASSES = {f"image_{k}": tuple(int(c) for c in np.flatnonzero(RNG.random(4) < SHARES)) for k in range(800)}


def shares(ids):
    return np.array([np.mean([c in CLASSES[i] for i in ids]) for c in range(4)])


def test_classes_keep_their_shares_better_than_by_chance():
    wanted = shares(list(CLASSES))
    off = [np.abs(shares(choose_images(CLASSES, 100, seed)) - wanted).max() for seed in range(5)]
    by_chance = [np.abs(shares(np.random.default_rng(seed).permutation(list(CLASSES))[:100]) - wanted).max() for seed in range(5)]
    assert max(off) <= 0.03 < np.mean(by_chance)


def test_every_class_has_an_image_as_soon_as_there_is_room():
    assert (shares(choose_images(CLASSES, 4, 1)) > 0).all()


def test_choices_of_a_seed_are_nested_on_request_only():
    small, large = (set(choose_images(CLASSES, count, 3, nested=True)) for count in (20, 60))
    assert small < large
    small, large = (set(choose_images(CLASSES, count, 3)) for count in (20, 60))
    assert not small < large


def test_the_seed_decides_and_the_order_of_images_does_not():
    reverse = dict(reversed(CLASSES.items()))
    assert choose_images(CLASSES, 30, 5) == choose_images(reverse, 30, 5)
    assert choose_images(CLASSES, 30, 5) != choose_images(CLASSES, 30, 6)


def test_images_without_classes_are_chosen_too_and_all_can_be():
    assert choose_images(CLASSES, len(CLASSES)) == sorted(CLASSES)
    assert choose_images({"a": (), "b": ()}, 1) in (["a"], ["b"])
    with pytest.raises(UsageError, match="expected 1 to 800, got 801"):
        choose_images(CLASSES, 801)


@pytest.mark.parametrize("step", [3, 8, 37])
def test_the_choice_depends_on_the_order_of_classes_and_not_on_their_numbers(step):
    rng = np.random.default_rng(2)
    classes_of = {f"i{k:02}": sorted(rng.permutation(12)[:2].tolist()) for k in range(60)}
    renumbered = {image_id: [step * k + 1 for k in reversed(classes)] for image_id, classes in classes_of.items()}
    for count in (3, 9):
        assert choose_images(classes_of, count) == choose_images(renumbered, count)
