"""``labelseg quality``: what is measured of the toy masks, which can be worked out by hand, and when it is measured anew."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import NAMES, TRAIN, labelseg
from PIL import Image

from labelseg.quality import measuring
from labelseg.quality.kept import kept_measured, kept_path


def measured(root, *words):
    result = labelseg(root, "quality", "spread", "--split", "train", "--json", *words)
    assert result.exit_code == 0, result.output
    return {image["id"]: image for image in json.loads(result.stdout)["images"]}


def test_the_parts_of_a_mask_are_those_worked_out_by_hand(finished):
    """All agree: the right half is the class, where its map is 0.8."""
    images = measured(finished)
    assert list(images) == list(TRAIN)
    for image_id, k in TRAIN.items():
        (parts,) = images[image_id]["classes"].items()
        sure = float(np.float16(0.8))
        assert parts == (NAMES[k], {
            "agreement": 1.0, "kept": None, "confidence": pytest.approx(sure), "consistent": True, "quality": pytest.approx((1 + sure) / 2),
        })  # fmt: skip
        assert (images[image_id]["miou"], images[image_id]["iou"]) == (1.0, {"background": 1.0, NAMES[k]: 1.0})


def test_a_mask_cut_short_is_less_trusted_and_less_right(finished):
    """Four of eight rows are gone: what is left lies within the strongest 20 of 40 places, and half of the truth is met."""
    assert labelseg(finished, "spread", "--rows", 4).exit_code == 0
    image = measured(finished)["a1"]
    assert (image["iou"]["cat"], image["iou"]["background"], image["miou"]) == (0.5, pytest.approx(40 / 60), pytest.approx(7 / 12))
    (parts,) = image["classes"].values()
    strongest = [(y, x) for y in range(8) for x in range(5, 10)][:20]
    hits = sum(y >= 4 for y, _ in strongest)
    assert parts["agreement"] == hits / (40 - hits)


def test_the_worst_come_first_and_tags_that_differ_give_nothing(finished):
    (finished / "labels.csv").write_text("image,labels\na1,cat\na2,cat\na3,cat\n")
    assert labelseg(finished, "config", "data.labels", finished / "labels.csv").exit_code == 0
    result = labelseg(finished, "quality", "spread", "--split", "train")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0][:2] == ["IMAGE", "QUALITY"]
    assert (rows[1][:2], rows[1][5:7]) == (["a2", "0.0"], ["cat", "0.0"])


def test_what_has_not_changed_is_not_measured_again(finished, monkeypatch):
    measured(finished)
    first = kept_measured(finished / ".labelseg", "spread", "train")
    seen = []
    original = measuring._measure_image
    monkeypatch.setattr(measuring, "_measure_image", lambda *words, **named: seen.append(words[4]) or original(*words, **named))
    assert measured(finished).keys() == TRAIN.keys()
    assert seen == []
    (finished / "truth").mkdir()
    Image.fromarray(np.zeros((8, 10), np.uint8)).save(finished / "truth" / "a2.png")
    assert labelseg(finished, "config", "data.masks", finished / "truth").exit_code == 0
    assert measured(finished)["a2"]["iou"]["dog"] == 0
    assert seen == ["a1", "a2", "a3"]
    seen.clear()
    Image.fromarray(np.full((8, 10), 2, np.uint8)).save(finished / "truth" / "a2.png")
    assert measured(finished)["a2"]["iou"] == {"background": 0.0, "dog": 0.5}
    assert seen == ["a2"]
    assert first.images[0].iou == {"background": 1.0, "cat": 1.0}


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:-9], lambda data: data.replace(b"0.8", b"0.9", 1)])
def test_what_was_kept_and_is_damaged_is_measured_again(finished, spoil):
    before = measured(finished)
    path = kept_path(finished / ".labelseg", "spread", "train")
    path.write_bytes(spoil(path.read_bytes()))
    assert kept_measured(finished / ".labelseg", "spread", "train") is None
    assert measured(finished) == before


def test_what_makes_no_masks_is_refused(finished):
    result = labelseg(finished, "quality", "cam")
    assert result.exit_code == 2
    assert "cam makes no masks. Name one of: spread, segment." in result.output


@pytest.fixture
def uneven(finished):
    """A workspace in which the mask of a2 contradicts its tag, and all are measured."""
    (finished / "labels.csv").write_text("image,labels\na1,cat\na2,cat\na3,cat\n")
    assert labelseg(finished, "config", "data.labels", finished / "labels.csv").exit_code == 0
    measured(finished)
    return finished


def test_status_and_show_name_the_least_trusted(uneven):
    assert "Least quality of spread (train): a2 (0.0), a1 (90.0), a3 (90.0)." in labelseg(uneven, "status").stderr
    shown = json.loads(labelseg(uneven, "show", "spread", "--split", "train", "--json").stdout)["least_quality"]
    assert shown == {"a2": 0.0, "a1": pytest.approx(0.9, abs=1e-3), "a3": pytest.approx(0.9, abs=1e-3)}
    (uneven / "labels.csv").write_text("image,labels\na1,cat\na2,dog\na3,cat\n")
    assert labelseg(uneven, "spread", "--rows", 4, "--cam", "cam").exit_code == 0
    assert "Least quality" not in labelseg(uneven, "status").stderr


def test_export_leaves_out_images_that_are_not_trusted(uneven, tmp_path):
    result = labelseg(uneven, "export", "spread", "-o", tmp_path / "out", "--min-quality", 0.5)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a1.png", "a3.png"]
    assert "Left out 1 image of 3 whose quality is below 0.5: a2." in result.stderr
    assert labelseg(uneven, "export", "spread", "-o", tmp_path / "all", "--min-quality", 0).exit_code == 0
    assert len(list((tmp_path / "all").glob("*.png"))) == 3
