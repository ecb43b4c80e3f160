"""After the classes of the data change, an artifact is told, scored and exported by those it was made with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy_chain
from conftest import TRAIN, VAL, labelseg
from PIL import Image

from labelseg.errors import ArtifactError
from labelseg.pipeline.plan.class_lists import class_changes, mix_text, mixed_ids, recorded_classes
from labelseg.pipeline.store.manifests import Catalog

SWAPPED, GROWN = "background\ndog\ncat\n", "background\ncat\ndog\nbird\n"
SHRUNK = "background\ncat\n"


@pytest.fixture
def classes(finished):
    """A function that writes the classes of the data, as a user who edits them would."""
    mine = finished / "mine"
    (mine / "splits").mkdir(parents=True)
    (mine / "splits" / "train.txt").write_text("\n".join(TRAIN) + "\n")
    (mine / "splits" / "val.txt").write_text("\n".join(VAL) + "\n")
    assert labelseg(finished, "config", "data.splits", mine / "splits").exit_code == 0

    def write(text):
        (mine / "classes.txt").write_text(text)
        result = labelseg(finished, "config", "data.classes", mine / "classes.txt")
        assert result.exit_code == 0, result.output

    return write


def test_show_names_the_classes_that_the_mask_was_made_with(finished, classes):
    classes(SWAPPED)
    result = labelseg(finished, "show", "spread", "a1")
    assert [line.split() for line in result.stdout.splitlines()[-2:]] == [["background", "50.0", "%"], ["cat", "50.0", "%"]]
    assert "spread was made with other classes than the data has now: order changed." in result.stderr
    facts = json.loads(labelseg(finished, "show", "spread", "--json").stdout)
    assert (facts["classes"], facts["data_changes"]) == (["background", "cat", "dog"], "order changed")


def test_export_names_the_classes_that_the_masks_were_made_with(finished, classes, tmp_path):
    classes(SWAPPED)
    result = labelseg(finished, "export", "spread", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert (tmp_path / "out" / "classes.txt").read_text() == "background\ncat\ndog\n"
    assert "spread was made with other classes than the data has now (order changed)" in result.stderr
    assert np.unique(np.array(Image.open(tmp_path / "out" / "a1.png"))).tolist() == [0, TRAIN["a1"]]


def test_export_does_not_put_masks_of_two_class_lists_into_one_folder(finished, classes, tmp_path):
    labelseg(finished, "tag", "before")
    assert labelseg(finished, "export", "spread", "-o", tmp_path / "out").exit_code == 0
    classes(SWAPPED)
    assert labelseg(finished, "spread").exit_code == 0
    files = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    result = labelseg(finished, "export", "spread", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "masks of other classes than those of spread lie there: 1 is cat there and dog here. Choose another folder." in result.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files
    assert labelseg(finished, "export", "spread", "--tag", "before", "-o", tmp_path / "out").exit_code == 0
    assert labelseg(finished, "export", "spread", "-o", tmp_path / "new").exit_code == 0
    assert (tmp_path / "new" / "classes.txt").read_text() == SWAPPED


def test_evaluate_refuses_to_mix_the_ids_of_two_class_lists(finished, classes):
    classes(SWAPPED)
    result = labelseg(finished, "evaluate", "spread")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "spread (train) was made with other classes than the data has now: 1 is cat there and dog here" in result.stderr
    assert labelseg(finished, "spread").exit_code == 0
    result = labelseg(finished, "evaluate")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["STAGE", "cam", "spread"]  # segment is of the old ones still
    assert "segment (val) was made with other classes" in result.stderr


@pytest.mark.parametrize(("text", "change"), [(GROWN, "bird added"), (SHRUNK, "dog removed")])
def test_classes_that_came_or_went_at_the_end_mix_nothing(finished, classes, text, change):
    masks = finished / "mine" / "masks"
    masks.mkdir()
    for image_id in ("a1", "a3"):
        truth = np.zeros((8, 10), np.uint8)
        truth[:, 5:] = 1
        Image.fromarray(truth).save(masks / f"{image_id}.png")
    (finished / "mine" / "labels.csv").write_text("image,labels\na1,cat\na3,cat\n")
    assert labelseg(finished, "config", "data.labels", finished / "mine" / "labels.csv").exit_code == 0
    assert labelseg(finished, "config", "data.masks", masks).exit_code == 0
    classes(text)
    result = labelseg(finished, "evaluate", "spread", "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["miou"], row["data_changes"]) == (1.0, change)
    assert list(row["iou"])[:3] == ["background", "cat", "dog"]
    assert f"spread (train) was made with other classes than the data has now: {change}." in result.stderr


def test_a_sheet_has_no_colour_for_two_classes(finished, classes, tmp_path):
    classes(SWAPPED)
    labelseg(finished, "cam")
    result = labelseg(finished, "show", "spread", "a1", "--plot", tmp_path / "sheet.png")
    assert "Drew image, spread:" in result.stderr
    assert "Left out cam, truth, of other classes: the colours would mix." in result.stderr


def test_predict_knows_the_classes_of_its_model(finished, classes, data, tmp_path, monkeypatch):
    seen = []
    segment = toy_chain.segment

    def spy(inputs, params):
        seen.append((inputs.classes, inputs.has_background))
        return segment(inputs, params)

    classes("dog\ncat\nbird\n")
    stages = tuple(stage if stage.name != "segment" else type(stage)(**{**vars(stage), "run": spy}) for stage in toy_chain.STAGES)
    result = labelseg(finished, "predict", data / "images" / "a1.png", "-o", tmp_path / "out", stages=stages)
    assert result.exit_code == 0, result.output
    assert seen == [(("background", "cat", "dog"), True)]


def test_a_run_from_the_middle_refuses_what_was_made_with_other_classes(finished, classes):
    classes(SWAPPED)
    labelseg(finished, "config", "run.target", "spread")
    labelseg(finished, "config", "run.split", "train")
    result = labelseg(finished, "run", "--from", "spread")
    assert result.exit_code == 4
    assert "which was made with other classes than the data has now: 1 is cat there and dog here. Run: labelseg run\n" in result.stderr
    assert labelseg(finished, "run").exit_code == 0
    assert labelseg(finished, "run", "--from", "spread").exit_code == 0


def test_two_states_of_different_classes_are_not_compared(finished, classes):
    labelseg(finished, "tag", "before")
    classes(SWAPPED)
    labelseg(finished, "spread")
    result = labelseg(finished, "diff", "spread:before", "spread")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "spread:before (train) and spread (train) were made with different classes" in result.stderr
    assert "1 is cat there and dog here" in result.stderr


def test_masks_of_old_classes_are_compared_with_each_other_but_not_with_the_truth(finished, classes):
    classes(SWAPPED)
    result = labelseg(finished, "diff", "spread", "spread", "--json")
    found = json.loads(result.stdout)
    assert (found["changed"], found["miou"], found["classes"]) == (0.0, 1.0, ["background", "cat", "dog"])
    assert (found["truth_images"], found["first_miou"], found["second_miou"]) == (0, None, None)
    assert "Not compared with the truth: the data has other classes now: 1 is cat there and dog here." in result.stderr


def test_the_manifests_of_all_artifacts_tell_their_classes(finished):
    catalog = Catalog(finished / ".labelseg")
    recipes = [catalog.load(stage, key).recipe for stage, key in catalog.manifests()]
    assert {recorded_classes(recipe, "x", "") for recipe in recipes} == {("background", "cat", "dog")}


@pytest.mark.parametrize("recipe", [{}, {"classes": []}, {"classes": "ab"}, {"classes": [1, 2]}, {"classes": None}])
def test_a_record_without_classes_is_refused(recipe):
    with pytest.raises(ArtifactError, match=r"spread: expected the classes it was made with .* Rebuild: labelseg spread --force"):
        recorded_classes({"stage": "spread", **recipe}, "spread", "labelseg spread --force")


def test_differences_of_lists_are_told():
    assert mixed_ids("abc", "abcd") == mixed_ids("abc", "ab") == mixed_ids("", "a") == []
    assert mixed_ids("abc", "acb") == [1, 2]
    assert mix_text("abc", "abd") == "2 is c there and d here"
    assert (class_changes("abc", "abc"), class_changes("acb", "abc")) == ("", "order changed")
    assert class_changes(["a", "d", "e"], ["a", "b"]) == "d, e added; b removed"


def test_an_id_that_means_something_else_is_found_wherever_it_stands():
    assert mixed_ids(("sky", "cat", "dog"), ("background", "cat", "cow", "dog")) == [0, 2]
    assert mix_text(("sky", "cat"), ("background", "cat")) == "0 is sky there and background here"
