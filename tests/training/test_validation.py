"""Scores between epochs: values by hand, and images that cannot be read."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.data.augment.resized_crop import short_side_crop
from labelseg.data.augment.transforms import normalize
from labelseg.errors import DataError
from labelseg.ops.metrics import ConfusionMatrix
from labelseg.pipeline.engines.inputs import Item
from labelseg.training.validation import classifier_scores, demand_labelled, masked_validation, segmenter_scores, step_scores
from tests.semi_data import Pictures


class Damaged(Pictures):
    """Pictures of which some cannot be read."""

    def __init__(self, *bad):
        self.bad = bad

    def image(self, image_id):
        if image_id in self.bad:
            raise DataError(f"image {image_id}: not readable")
        return super().image(image_id)


class Brightness(nn.Module):
    """Scores three classes by grey level; as a classifier, two."""

    def __init__(self, pooled=False):
        super().__init__()
        self.pooled = pooled
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        grey = x.mean(dim=1, keepdim=True) * self.scale
        scores = torch.cat([-grey, 1 - (grey - 0.5).abs(), grey - 1], dim=1)
        return scores[:, 1:].mean(dim=(2, 3)) if self.pooled else scores


def items(pictures, *names):
    return [Item(name, pictures, None, truth=frozenset({"image", "mask", "labels"})) for name in names]


SCORES = {
    "classifier": lambda held: classifier_scores(Brightness(pooled=True), held, 2, 1, "cpu", "32-true"),
    "segmenter": lambda held: segmenter_scores(Brightness(), held, 3, "cpu", "32-true"),
    "step": lambda held: step_scores(Brightness(), held, Pictures.classes, (0, 1, 2), 2, "cpu", "32-true", 0),
}


@pytest.mark.parametrize("kind", SCORES)
def test_an_image_that_cannot_be_read_is_told_and_left_out(kind, caplog):
    scores = SCORES[kind](items(Damaged("a2"), "a0", "a1", "a2", "a3"))
    assert scores == SCORES[kind](items(Pictures(), "a0", "a1", "a3"))
    assert [record.getMessage() for record in caplog.records] == ["left out of the scores: image a2: not readable"]


@pytest.mark.parametrize("kind", SCORES)
def test_where_no_image_can_be_read_the_first_is_named(kind):
    with pytest.raises(DataError, match="image a0: not readable"):
        SCORES[kind](items(Damaged("a0", "a1"), "a0", "a1"))


class Void(Damaged):
    """Pictures of which all but ``a3`` are void."""

    def mask(self, image_id):
        self.read = [*getattr(self, "read", ()), image_id]
        return super().mask(image_id) if image_id == "a3" else np.full(self.image(image_id).shape[:2], 255, np.uint8)


def test_masks_are_read_up_to_the_first_labelled_pixel():
    pictures = Void()
    demand_labelled("train", items(pictures, "a0", "a3", "a1"), Item.mask)
    assert pictures.read == ["a0", "a3"]
    demand_labelled("train", [], Item.mask)


@pytest.mark.parametrize("pictures", [Void(), Void("a3")], ids=["void", "labelled but not readable"])
def test_masks_that_score_nothing_are_refused(pictures):
    names = ["a0", "a1", *sorted(pictures.bad)]
    with pytest.raises(DataError, match=rf"train: no labelled pixel in the {len(names)} validation images.*--validation SPLIT"):
        demand_labelled("train", items(pictures, *names), Item.mask)


def test_the_score_of_a_segmenter_is_that_of_its_most_probable_classes():
    pictures, matrix = Pictures(), ConfusionMatrix(3)
    for name in ("a0", "a1", "a2"):
        image = pictures.image(name).astype(np.float32) / 255
        grey = ((image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).mean(axis=2)
        matrix.update(pictures.mask(name), np.stack([-grey, 1 - np.abs(grey - 0.5), grey - 1]).argmax(axis=0))
    assert SCORES["segmenter"](items(pictures, "a0", "a1", "a2"))["mIoU"] == pytest.approx(matrix.miou(), abs=1e-3)


def test_only_images_with_a_true_mask_are_evaluated_on():
    known = {"one": True, "two": False, "three": True}
    splits = {"validation": [SimpleNamespace(id=name, has=lambda kind, name=name: kind == "mask" and known[name]) for name in known]}
    assert [item.id for item in masked_validation(SimpleNamespace(items=splits.get))] == ["one", "three"]


@pytest.mark.parametrize(("crop", "begin"), [(0, ""), (32, "crop32 ")])
def test_scores_of_a_step_are_those_of_all_of_old_and_of_new_classes(crop, begin):
    pictures, names = Pictures(), ("a0", "a1", "a2", "a5")
    matrix = ConfusionMatrix(3)
    for name in names:
        image, mask = pictures.image(name), pictures.mask(name)
        image, mask = {0: lambda *both, size: both, 32: short_side_crop}[crop](image, mask, size=crop)
        inputs = torch.from_numpy(normalize(image))[None]
        channels = np.array([0, 2, 1], np.uint8)[mask]  # the step knows dog before cat
        matrix.update(channels, Brightness()(inputs)[0].argmax(dim=0).detach().numpy())
    background, dog, cat = matrix.iou()
    found = step_scores(Brightness(), items(pictures, *names), Pictures.classes, (0, 2, 1), 2, "cpu", "32-true", crop)
    expected = {"mIoU": np.mean([background, dog, cat]), "mIoU old": dog, "mIoU new": cat}
    expected |= {"IoU background": background, "IoU dog": dog, "IoU cat": cat}
    assert found == pytest.approx({begin + name: float(value) for name, value in expected.items()})
    assert len({round(value, 6) for value in (background, dog, cat)}) == 3
