"""evaluate: numbers worked out by hand on images of 8 x 10 pixels whose right half is a class."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import labelseg
from PIL import Image
from toy_chain import CamParams, cam

from labelseg.commands.results.evaluate import judgements
from labelseg.pipeline.declare.stage import Stage
from labelseg.results.scores import Score, heaviest, scoreable


def scores(root, *words) -> dict[str, dict]:
    result = labelseg(root, "evaluate", *words, "--json")
    assert result.exit_code == 0, result.output
    return {row["instance"]: row for row in json.loads(result.stdout)}


def test_perfect_masks_score_1(finished):
    found = scores(finished)
    assert list(found) == ["cam", "spread", "segment"]
    assert [row["miou"] for row in found.values()] == [1.0, 1.0, 1.0]
    assert [row["images"] for row in found.values()] == [3, 3, 2]


def test_wrong_rows_cost_what_they_should(finished):
    labelseg(finished, "spread", "--rows", "4")
    row = scores(finished, "spread")["spread"]
    # Half of each object became background: 120 true background pixels, 60 more called so; cats and dogs half found.
    assert row["iou"] == {"background": pytest.approx(120 / 180), "cat": 0.5, "dog": 0.5}
    assert row["miou"] == pytest.approx((120 / 180 + 1) / 3)
    assert row["accuracy"] == pytest.approx(180 / 240)


def test_images_of_one_size_weigh_alike_in_any_case(finished):
    labelseg(finished, "spread", "--rows", "4")
    row = scores(finished, "spread")["spread"]
    assert (row["even"], row["heavy"]) == (pytest.approx(row["miou"]), 2)


@pytest.mark.parametrize(
    ("sizes", "expected"), [([1, 1, 1, 1], 3), ([1, 100, 1], 1), ([3, 3], 2), ([2, 1, 1], 2), ([9, 9, 1, 0], 2), ([], 0), ([0, 0], 0)]
)
def test_the_fewest_images_with_more_than_half_of_the_pixels_are_counted(sizes, expected):
    assert heaviest(sizes) == expected


def of_few(instance, miou, even, heavy):
    return Score(instance, "train", "train", 10, 0, miou, miou, baseline=0.1, even=even, heavy=heavy)


def test_a_score_that_a_few_large_images_decide_is_no_reason_to_call_a_step_worse():
    lines = judgements([of_few("refine", 0.547, 0.474, 2), of_few("propagate", 0.521, 0.477, 2)])
    assert lines == [
        f"{name} (train): 2 large images of 10 hold more than half of the scored pixels, and so decide the mIoU, which is {even} where "
        "every image weighs alike."
        for name, even in (("refine", "47.4"), ("propagate", "47.7"))
    ]
    (told,) = (line for line in judgements([of_few("refine", 0.5, 0.4, 1), of_few("propagate", 0.6, 0.3, 1)]) if "worse" in line)
    assert told == "propagate (train) is worse than refine before it: mIoU 30.0 against 40.0."
    assert judgements([of_few("refine", 0.5, 0.4, 3), of_few("propagate", 0.6, 0.3, 3)]) == []


def test_ignored_pixels_do_not_count(finished):
    data = finished / "other"
    (data / "masks").mkdir(parents=True)
    truth = np.zeros((8, 10), np.uint8)
    truth[:, 5:] = 255
    for image_id in ("a1", "a2", "a3"):
        truth[:, 5] = 1 if image_id == "a3" else 255
        Image.fromarray(truth).save(data / "masks" / f"{image_id}.png")
    assert labelseg(finished, "config", "data.masks", data / "masks").exit_code == 0
    row = scores(finished, "spread")["spread"]
    assert row["iou"] == {"background": 1.0, "cat": 1.0, "dog": None}
    assert (row["miou"], row["images"]) == (1.0, 3)


def test_an_image_of_which_less_counts_weighs_as_much_as_others_in_the_even_score(finished):
    labelseg(finished, "spread", "--rows", "4")
    masks = finished / "other"
    masks.mkdir()
    for image_id in ("a1", "a2", "a3"):
        truth = np.zeros((8, 10), np.uint8)
        truth[:, 5:] = 255
        truth[:, 5] = 1 if image_id == "a3" else 255
        Image.fromarray(truth).save(masks / f"{image_id}.png")
    labelseg(finished, "config", "data.masks", masks)
    row = scores(finished, "spread")["spread"]
    # Of 48 pixels of a3, 40 are background and 4 of the cat's 8 were called so; all 40 of the others are right.
    assert row["even"] == pytest.approx(((2 + 40 / 48) / (2 + 44 / 48) + 0.5) / 2)
    assert row["miou"] == pytest.approx((120 / 124 + 0.5) / 2)


def test_images_without_a_mask_are_counted_as_left_out(finished, tmp_path):
    masks = tmp_path / "few"
    masks.mkdir()
    Image.fromarray(np.zeros((8, 10), np.uint8)).save(masks / "a1.png")
    labelseg(finished, "config", "data.masks", masks)
    result = labelseg(finished, "evaluate", "spread")
    assert "2 images have no true mask" in result.stderr
    assert "the true masks hold no pixel of a class but background" in result.stderr
    assert result.stdout.splitlines()[1].split()[:3] == ["spread", "train", "1"]


def test_on_counts_only_the_images_of_a_split(finished):
    labelseg(finished, "cam", "--split", "all")
    found = json.loads(labelseg(finished, "evaluate", "cam", "--split", "all", "--on", "val", "--json").stdout)
    assert [(row["split"], row["on"], row["images"]) for row in found] == [("all", "val", 2)]


@pytest.mark.parametrize(("declared", "expected"), [({}, False), ({"has_scores": True}, True), ({"has_masks": True}, True)])
@pytest.mark.parametrize("name", ["cam", "heat"])
def test_a_stage_is_scored_for_what_it_declares_not_for_its_name(name, declared, expected):
    assert scoreable(Stage(name, 1, "map", CamParams, cam, lambda params: ("image",), **declared)) is expected


def test_the_threshold_of_cam_is_swept_and_marked(finished):
    result = labelseg(finished, "evaluate", "cam")
    assert result.stdout.splitlines()[1].endswith("0.2*")
    assert "chosen on the scored images" in result.stderr


@pytest.mark.parametrize(("threshold", "miou"), [(0.5, 1.0), (0.9, 120 / 240 / 3)])
def test_a_threshold_given_is_used(finished, threshold, miou):
    row = scores(finished, "cam", "--threshold", str(threshold))["cam"]
    assert (row["threshold"], row["tuned"]) == (threshold, False)
    assert row["miou"] == pytest.approx(miou)


def test_the_threshold_of_the_configuration_is_used(finished):
    labelseg(finished, "config", "evaluate.threshold", "0.9")
    assert scores(finished, "cam")["cam"]["threshold"] == 0.9


def test_per_class_table(finished):
    lines = labelseg(finished, "evaluate", "spread", "--per-class").stdout.splitlines()
    assert [line.split() for line in lines[3:]] == [
        ["CLASS", "spread", "(train)"],
        ["background", "100.0"],
        ["cat", "100.0"],
        ["dog", "100.0"],
    ]


def test_what_is_not_fresh_is_told(finished):
    labelseg(finished, "config", "spread.rows", "1")
    assert (
        "spread (train) is stale: parameter rows: 0 -> 1. Scoring the existing result." in labelseg(finished, "evaluate", "spread").stderr
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("sprad", 2, "Did you mean 'spread'?"),
        ("train-net", 2, "makes no masks to score. Name one of: cam, spread, segment."),
        ("spread --split val", 1, "spread has never run here on val. Run: labelseg spread --split val"),
        ("--split trian", 2, "Did you mean 'train'?"),
        ("spread --unsaved", 1, "labelseg spread --no-save"),
    ],
)
def test_what_cannot_be_scored(finished, words, code, message):
    result = labelseg(finished, "evaluate", *words.split())
    assert result.exit_code == code
    assert message in result.stderr


def test_nothing_has_run(data, tmp_path):
    labelseg(tmp_path / "w", "init", "--from", data)
    result = labelseg(tmp_path / "w", "evaluate")
    assert result.exit_code == 1
    assert "Run: labelseg run" in result.stderr


@pytest.mark.parametrize(
    ("left", "advice"),
    [
        ("b*.png", "no image of split 'train' has a true mask. Images of val, all have one. Run: labelseg spread --split val"),
        ("none", "has a true mask. None of the data has one: look whether the masks in"),
    ],
)
def test_where_masks_are_is_told_rather_than_the_option_that_is_set(finished, tmp_path, left, advice):
    masks = Path(tomllib.loads((finished / "labelseg.toml").read_text())["data"]["masks"])
    (tmp_path / "some").mkdir()
    for path in (finished / masks).glob(left):
        shutil.copy(path, tmp_path / "some")
    (finished / "labelseg.toml").write_text((finished / "labelseg.toml").read_text().replace(str(masks), str(tmp_path / "some")))
    result = labelseg(finished, "evaluate", "spread")
    assert result.exit_code == 1
    assert advice in result.stderr
    assert "config data.masks DIR" not in result.stderr


def test_data_without_masks(finished):
    labelseg(finished, "config", "data.masks", "--unset")
    result = labelseg(finished, "evaluate")
    assert result.exit_code == 1
    assert "labelseg config data.masks DIR" in result.stderr


def rewrite(path, change):
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


@pytest.mark.parametrize(
    "damage", [lambda mask: np.pad(mask, ((0, 0), (0, 1))), lambda mask: mask + 90, lambda mask: np.dstack([mask] * 3)]
)
def test_a_true_mask_that_cannot_be_used_costs_its_image(finished, data, tmp_path, damage):
    masks = shutil.copytree(data / "masks", tmp_path / "other")
    rewrite(masks / "a2.png", damage)
    labelseg(finished, "config", "data.masks", masks)
    result = labelseg(finished, "evaluate", "spread", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["images"], list(row["unreadable"])) == (2, ["a2"])
    assert "1 true mask that cannot be used does not count" in result.stderr
    assert "a2.png" in result.stderr


def test_the_baseline_is_the_score_of_background_everywhere(finished):
    row = scores(finished, "spread")["spread"]
    # Half of every image is background, and three classes are there.
    assert row["baseline"] == pytest.approx(0.5 / 3)
    header, line = (text.split() for text in labelseg(finished, "evaluate", "spread").stdout.splitlines())
    assert dict(zip(header, line, strict=True))["BASELINE"] == "16.7"


@pytest.mark.parametrize(
    ("rows", "told"), [(8, "is no better than background everywhere: mIoU 16.7 against 16.7"), (4, "is worse than cam before it")]
)
def test_a_step_that_made_things_worse_is_told(finished, rows, told):
    labelseg(finished, "spread", "--rows", rows)
    assert told in labelseg(finished, "evaluate").stderr


def test_of_steps_that_gain_nothing_is_said(finished):
    assert "worse" not in labelseg(finished, "evaluate").stderr
