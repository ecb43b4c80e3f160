"""What the samples of a training from few masks hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from labelseg.data.augment.colour import StrongColours
from labelseg.data.augment.views import AnySize, FewSizes
from labelseg.errors import DataError, UsageError
from labelseg.methods.few_masks.checks import check_classes, check_crop, held_part
from labelseg.methods.few_masks.paired_samples import LabelledView, PseudoSegViews, UniMatchViews
from labelseg.training.pairs import PairedSamples
from tests.semi_data import Pictures, items

PLAIN = StrongColours(jitter=0, grey=0, blur=0)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("labelled", "unlabelled"), [(2, 5), (5, 2), (3, 3)])
def test_an_epoch_passes_once_over_the_longer_list_and_evenly_over_the_other(labelled, unlabelled):
    def named(part):
        return lambda item, rng: {part: item.id}

    samples = PairedSamples(
        items(*(f"l{k}" for k in range(labelled))), items(*(f"u{k}" for k in range(unlabelled))), named("x"), named("u")
    )
    epoch = [samples.sample(index, rng()) for index in range(len(samples))]
    assert len(epoch) == max(labelled, unlabelled)
    for part, count in (("x", labelled), ("u", unlabelled)):
        found = Counter(sample[part] for sample in epoch)
        assert len(found) == count
        assert max(found.values()) - min(found.values()) <= 1


def test_without_views_no_unlabelled_image_is_read():
    labelled = LabelledView(AnySize(32), 3, 1)
    both = PairedSamples(items("l0", "l1"), items("u0", "u1", "u2"), labelled, UniMatchViews(AnySize(32)))
    alone = PairedSamples(items("l0", "l1"), items("u0", "u1", "u2"), labelled, None)
    assert len(alone) == len(both) == 3
    for index in range(3):
        sample, full = alone.sample(index, rng(index)), both.sample(index, rng(index))
        assert sample.keys() == {"image", "mask", "labelled_valid", "tags"}
        for name in sample:
            np.testing.assert_array_equal(sample[name], full[name])


def test_views_share_one_geometry_and_padding_is_not_valid():
    make = UniMatchViews(AnySize(64, 0.5, 1.5), colours=PLAIN)
    for seed in range(10):
        sample = make(items("u1")[0], rng(seed))
        np.testing.assert_array_equal(sample["weak"], sample["strong1"])
        np.testing.assert_array_equal(sample["weak"], sample["strong2"])
        assert np.abs(sample["weak"][:, sample["valid"] == 0]).max(initial=0) < 0.01  # the mean colour
        assert (sample["truth"] == 255).all()


def test_strong_views_differ_from_each_other_and_boxes_are_drawn_for_each():
    make = UniMatchViews(AnySize(48))
    samples = [make(items("u1")[0], rng(seed)) for seed in range(30)]
    assert all((sample["strong1"] != sample["strong2"]).any() for sample in samples)
    assert np.mean([(sample["box1"] == sample["box2"]).all() for sample in samples]) < 0.5
    assert 0.3 < np.mean([sample["box1"][2] > 0 for sample in samples]) < 0.7


@pytest.mark.parametrize(("rate", "drawn"), [(0.0, 0), (1.0, 40)])
def test_boxes_come_at_the_rate_asked_for(rate, drawn):
    make = UniMatchViews(AnySize(32), box=rate)
    samples = [make(items("u1")[0], rng(seed)) for seed in range(20)]
    assert sum(int(sample[f"box{view}"][2] > 0) for sample in samples for view in (1, 2)) == drawn


def test_pixels_ignored_by_the_truth_of_unlabelled_images_stay_valid():
    class Ignored(Pictures):
        def mask(self, image_id):
            return np.full(self.image(image_id).shape[:2], 255, np.uint8)

    item = items("l1")[0]
    other = type(item)(item.id, Ignored(), None)
    sample = UniMatchViews(AnySize(16, 1.5, 1.5), watch=True)(other, rng())
    assert sample["valid"].all()
    assert (sample["truth"] == 255).all()


def test_a_watched_truth_has_the_geometry_of_its_view():
    sample = UniMatchViews(AnySize(48, 0.9, 1.1), watch=True)(items("l1")[0], rng(1))
    bright = sample["weak"].mean(axis=0)
    inside, outside = (sample["truth"] == 2) & (sample["valid"] == 1), sample["truth"] == 0
    assert bright[inside].mean() > bright[outside].mean() + 0.5
    assert (sample["truth"][sample["valid"] == 0] == 255).all()


@pytest.mark.parametrize("make", [UniMatchViews(AnySize(32), watch=True), PseudoSegViews(FewSizes(32), 3, 1, watch=True)])
def test_a_watched_truth_that_cannot_be_read_is_unknown_and_its_image_is_learned_from(make):
    class Damaged(Pictures):
        def mask(self, image_id):
            raise DataError(f"mask of {image_id}: not readable")

    item = items("l1")[0]
    sample = make(type(item)(item.id, Damaged(), None), rng())
    assert (sample["truth"] == 255).all()
    np.testing.assert_array_equal(sample["weak"], make(item, rng())["weak"])


def test_own_partners_are_other_views_of_the_image():
    sample = UniMatchViews(AnySize(32), own_partner=True)(items("u1")[0], rng())
    assert {"partner_weak", "partner_strong1", "partner_strong2", "partner_valid"} <= sample.keys()
    assert (sample["partner_weak"] != sample["weak"]).any()


def test_padding_of_labelled_images_is_ignored_and_ignored_pixels_are_valid():
    class Bordered(Pictures):
        def mask(self, image_id):
            mask = super().mask(image_id)
            mask[:4] = 255
            return mask

    item = items("l0")[0]
    sample = LabelledView(AnySize(64, 0.8, 0.9), 3, 1)(type(item)(item.id, Bordered(), None, truth=item.truth), rng())
    valid = sample["labelled_valid"] == 1
    assert (sample["mask"][~valid] == 255).all()
    assert 0 < (sample["mask"][valid] == 255).mean() < 0.2
    assert np.abs(sample["image"][:, ~valid]).max() < 0.01  # the mean colour
    assert np.abs(sample["image"][:, valid]).mean() > 0.1


def test_labelled_tags_are_those_of_the_image_or_of_the_crop():
    draw = AnySize(8, 1.0, 1.0)
    whole = LabelledView(draw, 3, 1)
    crop = LabelledView(draw, 3, 1, "crop")
    found = [(whole(items("l0")[0], rng(seed)), crop(items("l0")[0], rng(seed))) for seed in range(30)]
    assert all(one["tags"].tolist() == [1, 0] for one, _ in found)
    assert {tuple(two["tags"]) for _, two in found} == {(0.0, 0.0), (1.0, 0.0)}
    for _, two in found:
        assert bool(two["tags"][0]) == bool((two["mask"] == 1).any())


def test_cutouts_are_filled_and_do_not_count():
    make = PseudoSegViews(FewSizes(48), 3, 1, strength=0.0, cutout=8)
    for seed in range(10):
        sample = make(items("l0")[0], rng(seed))
        gone = sample["valid"] == 0
        assert np.abs(sample["strong"][:, gone]).max(initial=0) < 0.01
        kept = ~gone
        np.testing.assert_allclose(sample["strong"][:, kept], sample["weak"][:, kept], atol=0.02)
        assert gone.any()
    assert sample["unlabelled_tags"].tolist() == [1, 0]
    assert make(items("u0")[0], rng())["unlabelled_tags"].tolist() == [0, 0]
    whole = PseudoSegViews(FewSizes(16, (1.0,)), 3, 1, cutout=0)(items("u0")[0], rng())
    assert whole["valid"].all()


# --- checks -----------------------------------------------------------------------------------------------------------


def test_a_class_without_a_labelled_pixel_is_named():
    check_classes("train", items("l0", "l1"), Pictures.classes)
    with pytest.raises(DataError, match=r"train: no pixel of the 2 labelled images is of class dog.*--allow-missing"):
        check_classes("train", items("l0", "l2"), Pictures.classes)
    check_classes("train", items("l0"), Pictures.classes, allow_missing=True)


def test_a_crop_larger_than_every_image_is_refused():
    check_crop("train", items("l0"), 112, 2.0)
    with pytest.raises(UsageError, match=r"crop of train: 113 pixels.*longest side is 56.*--crop 112"):
        check_crop("train", items("l0", "l1"), 113, 2.0)


class Damaged(Pictures):
    """Pictures of which ``l0`` cannot be read."""

    def image(self, image_id):
        if image_id == "l0":
            raise DataError("image l0: not readable")
        return super().image(image_id)


def test_checks_leave_out_what_cannot_be_read(caplog):
    damaged = [type(item)(item.id, Damaged(), None, truth=item.truth) for item in items("l0", "l1", "l2")]
    check_crop("train", damaged, 112, 2.0)
    check_classes("train", damaged, Pictures.classes)
    assert {record.getMessage() for record in caplog.records} == {"left out of training: image l0: not readable"}
    for check in (lambda: check_crop("train", damaged[:1], 112, 2.0), lambda: check_classes("train", damaged[:1], Pictures.classes)):
        with pytest.raises(DataError, match="image l0: not readable"):
            check()


def test_a_share_is_held_back_by_seed():
    given = items(*(f"l{k}" for k in range(10)))
    kept, held = held_part(given, 0.2, seed=1)
    assert (len(kept), len(held)) == (8, 2)
    assert sorted(item.id for item in (*kept, *held)) == sorted(item.id for item in given)
    assert [item.id for item in held_part(given, 0.2, 1)[1]] == [item.id for item in held]
    assert held_part(given, 0.0, 1)[1] == []
    assert len(held_part(given, 0.01, 1)[1]) == 1
    with pytest.raises(UsageError, match="leaves none to train on"):
        held_part(given[:1], 0.5, 1)


def test_the_last_image_of_a_class_is_not_held_back():
    one_dog = items("l1", *(f"l{k}" for k in range(0, 16, 2)))  # odd ones hold a dog, even ones a cat
    for seed in range(20):
        kept, held = held_part(one_dog, 0.4, seed)
        assert (len(kept), len(held)) == (5, 4)
        assert "l1" in {item.id for item in kept}
    assert len(held_part(items("l0", "l1", "l3"), 0.6, 0)[1]) == 1
    with pytest.raises(UsageError, match="each of the 2 labelled images is the last of some class"):
        held_part(items("l0", "l1"), 0.5, 0)
