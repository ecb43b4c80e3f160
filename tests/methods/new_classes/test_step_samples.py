from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from labelseg.class_ids import IGNORE
from labelseg.data.label_maps import label_map
from labelseg.errors import DataError, UsageError
from labelseg.methods.new_classes.increments import Increment, read_increment
from labelseg.methods.new_classes.step_params import Params
from labelseg.methods.new_classes.step_samples import LabelledCrop, MaskedCrop, StepSamples, item_classes, tagged
from labelseg.ops.new_classes.wilson_step import MaskKind
from labelseg.pipeline.engines.inputs import Model
from labelseg.training.samples import Samples

CLASSES = ("background", "cat", "cow", "dog", "horse")


@dataclass
class Picture:
    """An image whose colour is its number, with tags and a mask of two halves."""

    number: int
    tags: tuple[int, ...] | None = ()
    left: int = 0
    right: int = 0

    def image(self):
        return np.full((40, 50, 3), self.number, np.uint8)

    def mask(self):
        mask = np.full((40, 50), self.left, np.uint8)
        mask[:, 25:] = self.right
        return mask


def number(sample):
    """The number of the image that a sample was cut from."""
    return round(float(sample[0][0, 0, 0]) * 0.229 * 255 + 0.485 * 255)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_weak_sample_has_the_labels_of_its_image_and_no_mask():
    image, labels, mask, kind = LabelledCrop(16, 0.0, (0, 3, 1, 4))(Picture(5, (1, 2)), rng())
    assert image.shape == (3, 16, 16) and image.dtype == np.float32
    assert labels.tolist() == [0, 1, 0]  # dog, cat, horse; cow is not known yet
    assert (mask == IGNORE).all() and kind == MaskKind.NONE


def test_a_replayed_sample_has_its_mask_in_channels():
    _, _, mask, kind = LabelledCrop(16, 0.0, (0, 3, 1, 4), read_mask=Picture.mask, mask_kind=MaskKind.TRUE)(
        Picture(5, None, left=3, right=2), rng()
    )
    assert kind == MaskKind.TRUE and set(np.unique(mask)) == {0, 1}  # dog is channel 1, cow becomes background


def test_labels_of_a_replayed_image_without_tags_are_the_classes_of_its_mask():
    make = LabelledCrop(16, 0.0, (0, 3, 1, 4), read_mask=Picture.mask, mask_kind=MaskKind.TRUE)
    assert make(Picture(5, None, left=3, right=IGNORE), rng())[1].tolist() == [1, 0, 0]
    assert make(Picture(5, (1,), left=3), rng())[1].tolist() == [0, 1, 0]  # tags that are known count


def test_a_dense_sample_keeps_the_channels_of_the_step_alone():
    channels = label_map((0, 3, 1, 4), first=2)
    make = MaskedCrop(16, 0.0, channels, Picture.mask)
    image, mask = make(Picture(5, left=3, right=4), rng())
    assert image.shape == (3, 16, 16) and set(np.unique(mask)) == {0, 3}
    assert (make(Picture(5, left=IGNORE, right=IGNORE), rng())[1] == IGNORE).all()


class Halves(Picture):
    """A picture that is bright where its mask is 1."""

    def image(self):
        return np.repeat(np.uint8(200) * (self.mask() == 1)[..., None], 3, axis=2)


def test_an_image_and_its_mask_are_mirrored_together():
    picture, mirrored = Halves(0, None, left=1), set()
    for make in (
        LabelledCrop(16, 0.0, (0, 1), read_mask=Picture.mask, mask_kind=MaskKind.TRUE),
        MaskedCrop(16, 0.0, label_map((0, 1)), Picture.mask),
    ):
        for seed in range(8):
            sample = make(picture, rng(seed))
            mask = next(part for part in sample if part.shape == (16, 16))
            assert ((sample[0][0] > 0) == (mask == 1)).mean() > 0.9
            mirrored.add(bool(mask[8, 0] == 0))
    assert mirrored == {False, True}


@pytest.mark.parametrize(
    "make",
    [lambda strength: LabelledCrop(16, strength, (0, 1)), lambda strength: MaskedCrop(16, strength, label_map((0, 1)), Picture.mask)],
)
def test_jitter_changes_colours_and_the_seed_repeats_them(make):
    plain, first, second = (make(strength)(Picture(90), rng())[0] for strength in (0.0, 0.5, 0.5))
    assert np.array_equal(first, second) and not np.allclose(first, plain)


@pytest.fixture
def mixed():
    """Three images with new classes, five negatives, one stored image."""
    make = LabelledCrop(8, 0.0, (0, 1))
    sets = [Samples([Picture(k) for k in numbers], make) for numbers in (range(3), range(10, 15), range(100, 101))]
    return StepSamples(sets[0], sets[1:])


def test_every_image_of_a_new_class_comes_once_and_of_others_as_many_at_most(mixed):
    assert len(mixed) == 3 + 3 + 1
    found = [number(mixed.sample(index, rng(index))) for index in range(7)]
    assert found[:3] == [0, 1, 2]
    assert all(10 <= k < 15 for k in found[3:6]) and found[6] == 100


def test_others_are_drawn_anew_every_epoch(mixed):
    assert {number(mixed.sample(3, rng(seed))) for seed in range(40)} == set(range(10, 15))


def test_there_is_no_sample_beyond_the_last(mixed):
    with pytest.raises(IndexError):
        mixed.sample(7, rng())


# --- images of a step -------------------------------------------------------------------------------------------------

ITEMS = [Picture(0, (1,)), Picture(1, (2,)), Picture(2, (2, 4)), Picture(3, ()), Picture(4, (1, 2)), Picture(5, None, right=4)]


def step(scenario, class_ids=(0, 1, 2), n_old=2):
    return Increment("wilson@1", 1, scenario, CLASSES, class_ids, n_old)


def numbers(items):
    return [item.number for item in items]


@pytest.mark.parametrize(("scenario", "chosen"), [("overlap", [1, 2, 4]), ("disjoint", [1, 4]), ("separate", [0, 1, 3, 4])])
def test_images_are_those_of_the_scenario(scenario, chosen):
    assert numbers(step(scenario).select(tagged(ITEMS), item_classes)) == chosen


@pytest.mark.parametrize(("scenario", "chosen"), [("overlap", [0, 3]), ("disjoint", [0, 3]), ("separate", [0, 3])])
def test_negatives_hold_no_new_class(scenario, chosen):
    assert numbers(step(scenario).without_new(tagged(ITEMS), item_classes)) == chosen


def test_negatives_hold_no_later_class_unless_classes_overlap():
    later = [Picture(0, (4,)), Picture(1, (1,))]
    assert numbers(step("overlap").without_new(later, item_classes)) == [0, 1]
    assert numbers(step("disjoint").without_new(later, item_classes)) == [1]


@pytest.mark.parametrize("scenario", ["overlap", "disjoint", "separate"])
def test_void_in_a_mask_is_no_later_class(scenario):
    replayed = [Picture(0, None, left=IGNORE, right=1), Picture(1, None, left=IGNORE, right=2)]
    assert numbers(step(scenario).without_new(replayed, lambda item: item_classes(item, Picture.mask))) == [0]


def test_unknown_tags_are_read_off_the_mask_where_there_is_one():
    assert item_classes(ITEMS[5], Picture.mask) == (0, 4)
    assert item_classes(ITEMS[5]) == ()
    assert numbers(step("overlap", (0, 4), 1).select(ITEMS, lambda item: item_classes(item, Picture.mask))) == [2, 5]


class Torn(Picture):
    """A picture whose mask cannot be read."""

    def mask(self):
        raise DataError("mask: not readable")


def test_an_image_whose_mask_cannot_be_read_is_left_out(caplog):
    replayed = [Torn(0, None), Picture(1, None, left=1), Picture(2, None, left=2)]
    assert numbers(step("overlap").without_new(replayed, lambda item: item_classes(item, lambda item: item.mask()))) == [1]
    assert numbers(step("overlap").select(replayed, lambda item: item_classes(item, lambda item: item.mask()))) == [2]
    assert [record.getMessage() for record in caplog.records] == ["left out of training: mask: not readable"] * 2


def test_a_new_class_beside_later_ones_only_is_told():
    with pytest.raises(DataError, match=r"no image of the new class 'cow' .1 of the split hold it beside"):
        step("disjoint").select([Picture(0, (2, 4))], item_classes)


def test_a_model_of_other_classes_is_refused():
    inputs = SimpleNamespace(instance="wilson@1", has_background=True, classes=CLASSES)
    params = Params(step=1, new=("dog",), previous="wilson@0")
    meta = {"network": "segmenter", "classes": list(CLASSES), "class_ids": [0, 1, 2], "settings": {"n_classes": 3}}
    found = read_increment(inputs, params, Model({}, meta, {}, []))
    assert (found.class_ids, found.n_old, found.new_ids) == ((0, 1, 2, 3), 3, (3,))
    swapped = ["background", "cow", "cat", "dog", "horse"]
    with pytest.raises(UsageError, match=r"wilson@1: wilson@0 was trained with another list of classes"):
        read_increment(inputs, params, Model({}, {**meta, "classes": swapped}, {}, []))
