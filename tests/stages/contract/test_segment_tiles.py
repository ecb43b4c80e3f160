"""``segment`` and ``predict`` with tiles: what a photo of any size gives, put together from what its parts give."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelseg.errors import UsageError
from labelseg.inference.predictor import Predictor, class_probabilities, resize_image, tag_probabilities
from labelseg.ops.class_weights import share_foreground
from labelseg.ops.tiles import tile_spans, tile_weights
from labelseg.pipeline.engines.inputs import Item
from labelseg.results.loose_images import LooseImages, Written, write_predictions
from labelseg.stages.segmentation.segment import STAGE
from tests.stages.contract import by_hand

SIZE, TILE, OVERLAP = (200, 333), 128, 64
SCALES = (1.0, 0.75)
INPUTS = {"model": "segmenter", "classes": "classifier"}


def photo(size=SIZE):
    rng = np.random.default_rng(4)
    picture = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(picture) + rng.normal(0, 9, (*size, 3)), 0, 255).astype(np.uint8)


def segment(item, **chosen):
    return STAGE.run(by_hand.inputs(**INPUTS), STAGE.params(**{"scales": SCALES, **chosen}))(item)


def put_together(image, seen=None):
    """Probabilities of an image: those of all its tiles, weighed and summed; ``seen`` is what the classifier judges, if it does."""
    predictor = Predictor(by_hand.network("segmenter"), "cpu")
    total = np.zeros((len(by_hand.CLASSES), *image.shape[:2]))
    rows, columns = (tile_spans(side, TILE, OVERLAP) for side in image.shape[:2])
    for (top, bottom), down in zip(rows, tile_weights(rows, OVERLAP), strict=True):
        for (left, right), across in zip(columns, tile_weights(columns, OVERLAP), strict=True):
            part = class_probabilities(predictor, image[top:bottom, left:right], SCALES, True)
            if seen is not None:
                tagger = Predictor(by_hand.network("classifier"), "cpu")
                part = share_foreground(part, np.array([0, *tag_probabilities(tagger, seen)], np.float32), 0)
            total[:, top:bottom, left:right] += part * np.outer(down, across)
    return total


def compare(found, probabilities, name="mask"):
    sure = np.partition(probabilities, -2, axis=0)[-1] - np.partition(probabilities, -2, axis=0)[-2] > 1e-5
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found[name][sure], probabilities.argmax(axis=0)[sure])


def test_an_image_no_larger_than_a_tile_is_as_without_tiles():
    item = by_hand.HandItem("one", photo((128, 100)), None)
    one, other = segment(item), segment(item, tile=128, overlap=64)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_tiles_are_weighed_and_summed():
    found = segment(by_hand.HandItem("one", photo(), None), tile=TILE, overlap=OVERLAP)
    probabilities = put_together(photo())
    compare(found, probabilities)
    np.testing.assert_allclose(found["confidence"], probabilities.max(axis=0), atol=1e-3)
    whole = segment(by_hand.HandItem("one", photo(), None))
    assert (whole["mask"] == found["mask"]).mean() > 0.8
    assert (whole["confidence"] != found["confidence"]).any()


def test_the_classifier_sees_the_whole_photo_and_every_tile_is_shared_by_what_it_says():
    found = segment(by_hand.HandItem("one", photo(), None), tile=TILE, overlap=OVERLAP, classes="classifier")
    compare(found, put_together(photo(), resize_image(photo(), TILE / SIZE[1])))


@pytest.fixture
def loose(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "one.png")
    return LooseImages({"one": tmp_path / "one.png"}, by_hand.CLASSES, 100)


def test_a_photo_that_is_worked_on_smaller_is_segmented_at_the_size_of_its_file(loose):
    found = segment(Item("one", loose, None), tile=TILE, overlap=OVERLAP)
    compare(found, put_together(photo()), "file_mask")
    scaling = loose.scaling("one")
    assert scaling.work == (60, 100)
    np.testing.assert_array_equal(found["mask"], scaling.shrink(found["file_mask"]))
    assert found["confidence"].shape == (60, 100)
    assert "file_mask" not in segment(Item("one", loose, None))
    judged = segment(Item("one", loose, None), tile=TILE, overlap=OVERLAP, classes="classifier")
    compare(judged, put_together(photo(), loose.image("one")), "file_mask")


def test_predict_writes_what_tiles_give_at_the_size_of_the_file(loose, tmp_path):
    params = STAGE.params(scales=SCALES, tile=TILE, overlap=OVERLAP)
    write = write_predictions(by_hand.inputs(**INPUTS), Written(STAGE.run, params, tmp_path / "p", confidence=True))
    write(Item("one", loose, None))
    found = segment(Item("one", loose, None), tile=TILE, overlap=OVERLAP)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "p/masks/one.png")), found["file_mask"])
    assert Image.open(tmp_path / "p/confidences/one.png").size == SIZE[::-1]


def test_tiles_that_cannot_be_laid_are_refused_before_anything_is_computed():
    with pytest.raises(UsageError, match="tile: expected a multiple of 64 pixels, got 100"):
        STAGE.run(by_hand.inputs(**INPUTS), STAGE.params(tile=100))
