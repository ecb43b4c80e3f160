"""What the samples of the chain's trainings hold: every view of an image goes with its own labels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from labelseg.class_ids import IGNORE
from labelseg.data.augment.transforms import IMAGENET_MEAN, IMAGENET_STD
from labelseg.errors import DataError
from labelseg.training.samples import (
    LabelledGrid,
    MaskedImage,
    Samples,
    TaggedImage,
    Target,
    agreed_target,
    resample_cells,
    source_target,
    tag_targets,
)

STEP = 60  # grey levels between labels


class Drawn:
    """An image whose grey tells the label of each pixel, or of each cell of 8 pixels."""

    id = "drawn"
    tags = (1, 3)

    def __init__(self, height=77, width=104, seed=0):
        self.labels = np.random.default_rng(seed).integers(0, 4, (-(-height // 8), -(-width // 8)), dtype=np.uint8)
        self.mask = self.labels.repeat(8, 0).repeat(8, 1)[:height, :width]

    def image(self):
        return np.repeat((self.mask * STEP)[..., None], 3, axis=2)

    def read(self, role):
        return {"labels": self.labels}


def drawn_target(drawn):
    """The mask of a drawn image, and nothing said of single pixels."""
    return Target(drawn.mask, np.zeros((0, 2), np.int64), np.zeros(0, np.uint8))


def labels_of(sample):
    """Read labels off the first channel; also where there is neither a label nor anything between two."""
    grey = (sample[0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]) * 255
    found = np.round(grey / STEP)
    return found.astype(int), np.abs(grey - found * STEP) < 2


def rng(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_grid_of_labels_goes_with_its_crop(seed):
    image, labels = LabelledGrid(64, jitter=0.0)(Drawn(seed=seed), rng(seed))
    assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((3, 64, 64), np.float32, (8, 8), np.uint8)
    pixels, _ = labels_of(image)
    known = labels != IGNORE
    middles = pixels[3::8, 3::8]
    np.testing.assert_array_equal(middles[known], labels[known])
    assert known.mean() > 0.6


def test_crops_are_mirrored_half_of_the_time_and_lie_at_different_places():
    found = [LabelledGrid(64, jitter=0.0)(Drawn(), rng(seed))[1].tobytes() for seed in range(30)]
    assert len(set(found)) > 10
    wide = Drawn(64, 64)
    mirrored = [(LabelledGrid(64, jitter=0.0)(wide, rng(seed))[1] == wide.labels[:, ::-1]).all() for seed in range(60)]
    assert 0.25 < np.mean(mirrored) < 0.75


@pytest.mark.parametrize("seed", range(6))
def test_labels_follow_an_image_that_is_resized(seed):
    image, labels = LabelledGrid(64, jitter=0.0, scale=(1.5, 2.0))(Drawn(seed=seed), rng(seed))
    pixels, clear = labels_of(image)
    known = (labels != IGNORE) & clear[3::8, 3::8] & clear[4::8, 4::8]
    assert known.mean() > 0.5
    assert (pixels[3::8, 3::8] == labels)[known].mean() > 0.9


def test_cells_of_a_resized_image_have_the_label_of_where_they_came_from():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(resample_cells(labels, (24, 32), (24, 32)), labels)
    np.testing.assert_array_equal(resample_cells(labels, (24, 32), (48, 64)), labels.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(resample_cells(labels, (24, 32), (8, 8)), labels[1:2, 2:3])
    assert resample_cells(labels, (17, 25), (34, 50)).shape == (5, 7)


@pytest.mark.parametrize("seed", range(6))
def test_a_mask_goes_with_its_crop_and_padding_is_ignored(seed):
    drawn = Drawn(seed=seed)
    image, mask = MaskedImage(96, (0.75, 1.5), 0.0, drawn_target)(drawn, rng(seed))
    assert (image.shape, mask.shape, mask.dtype) == ((3, 96, 96), (96, 96), np.uint8)
    pixels, clear = labels_of(image)
    known = (mask != IGNORE) & clear
    assert known.mean() > 0.3
    assert (pixels == mask)[known].mean() > 0.97
    assert np.abs(image[:, mask == IGNORE]).max(initial=0) < 0.01  # the mean colour


def test_tags_become_targets():
    image, targets = TaggedImage(64, (60, 90), 0.0, 3, 1)(Drawn(), rng(0))
    assert image.shape == (3, 64, 64)
    assert targets.tolist() == [1, 0, 1]
    assert tag_targets((0, 2), 3, 0).tolist() == [1, 0, 1]
    assert tag_targets((), 3, 0).tolist() == [0, 0, 0]


def test_an_item_that_cannot_be_read_is_replaced_by_the_next_one_that_can():
    def make(item, rng):
        if item in "bcf":
            raise DataError(f"{item} is damaged")
        return item

    assert "".join(Samples("abcdef", make).sample(k, rng(0)) for k in range(6)) == "adddea"
    with pytest.raises(DataError, match="c is damaged"):
        Samples("bcf", make).sample(1, rng(0))


class Clicked:
    """A grey image whose label source knows nothing but one pixel."""

    id = "clicked"

    def image(self):
        return np.full((90, 90, 3), 128, np.uint8)

    def read(self, role):
        mask = np.full((90, 90), IGNORE, np.uint8)
        mask[44, 46] = 5
        return {"mask": mask, "points": np.array([[44, 46]], np.int32), "point_labels": np.array([5], np.uint8)}


@pytest.mark.parametrize("seed", range(20))
def test_an_answered_pixel_is_learned_however_far_an_image_shrinks(seed):
    _, mask = MaskedImage(96, (0.1, 0.5), 0.0, source_target)(Clicked(), rng(seed))
    assert (mask == 5).sum() == 1
    assert ((mask == 5) | (mask == IGNORE)).all()


def test_a_source_without_answers_has_a_mask_alone():
    drawn = Drawn()
    drawn.read = lambda role: {"mask": drawn.mask, "points": np.array([[1, 2]])}
    target = source_target(drawn)
    assert (len(target.points), len(target.labels)) == (0, 0)
    np.testing.assert_array_equal(target.mask, drawn.mask)


def test_an_image_that_cannot_be_read_is_told_once_and_not_at_every_pass(caplog):
    def make(item, rng):
        if item.id == "bad":
            raise DataError("bad cannot be read")
        return (item.id,)

    samples = Samples([SimpleNamespace(id="bad"), SimpleNamespace(id="good")], make)
    assert [samples.sample(index, np.random.default_rng(0)) for index in (0, 1, 0, 0)] == [("good",)] * 4
    assert [record.getMessage() for record in caplog.records] == ["left out of training: bad cannot be read"]


def test_pixels_of_which_two_sources_say_different_things_are_not_learned_but_those_a_person_labelled_are():
    arrays = {
        "labels": {
            "mask": np.array([[0, 1, 2], [IGNORE, 2, 1]], np.uint8),
            "points": np.array([[0, 1]]),
            "point_labels": np.array([1], np.uint8),
        },
        "beside": {"mask": np.array([[0, 2, 2], [1, IGNORE, 0]], np.uint8)},
    }
    before = arrays["labels"]["mask"].copy()
    target = agreed_target(SimpleNamespace(read=arrays.__getitem__))
    assert target.mask.tolist() == [[0, IGNORE, 2], [IGNORE, IGNORE, IGNORE]]
    assert (target.mask.dtype, target.points.tolist(), target.labels.tolist()) == (np.uint8, [[0, 1]], [1])
    np.testing.assert_array_equal(arrays["labels"]["mask"], before)
