"""Photos that are worked on smaller than their files: what is written, scored and brought back is of the size of the files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy_chain
from conftest import NAMES, labelseg
from PIL import Image

from labelseg.answers.answer_files import Answer, answers_path, append_answers, read_answers
from labelseg.answers.correction_files import corrections_path
from labelseg.data.folder.images import read_image
from labelseg.pages.annotation.asked_items import AskedMasks, asked_in, read_questions
from labelseg.stages.clicks import ask, correct, override
from labelseg.working_size import Scaling
from labelseg.workspace import Workspace

STAGES = (*toy_chain.STAGES, ask.STAGE, correct.STAGE, override.STAGE)
FILE, WORK = (161, 203), (63, 80)  # of photos; 63.4 rows are 63
SCALING = Scaling(FILE, WORK)
IDS = {"a1": 1, "a2": 2, "b1": 1}


def truth(class_id):
    """A block of a class, a thin line of the other, and some unknown pixels."""
    mask = np.zeros(FILE, np.uint8)
    mask[40:120, 60:170] = class_id
    mask[10, :] = 3 - class_id
    mask[150:, :20] = 255
    return mask


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace of three photos of 203 x 161 pixels, worked on at 80."""
    base = tmp_path_factory.mktemp("large")
    for name in ("images", "masks"):
        (base / name).mkdir()
    for image_id, class_id in IDS.items():
        mask = truth(class_id)
        grey = np.where(mask == 255, 0, mask) * toy_chain.STEP + 20  # averages at borders belong to some class
        exif = Image.Exif()
        turned = image_id == "a2"
        exif[0x0112] = 6 if turned else 1
        pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(np.rot90(pixels) if turned else pixels).save(base / f"images/{image_id}.png", exif=exif)
        Image.fromarray(mask).save(base / f"masks/{image_id}.png")
    (base / "labels.csv").write_text("image,labels\n" + "".join(f"{i},cat;dog\n" for i in IDS))
    (base / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (base / "val.txt").write_text("b1\n")
    assert call(base / "w", "init", "--from", base, "--recipe", "tags-one-round").exit_code == 0
    assert call(base / "w", "config", "data.long_side", 80).exit_code == 0
    done = call(base / "w", "spread", "--workers", 0)
    assert done.exit_code == 0, done.output
    return base / "w"


def call(root, *words):
    return labelseg(root, *words, stages=STAGES)


def done(root, *words):
    result = call(root, *words)
    assert result.exit_code == 0, result.output
    return result


def open_workspace(root):
    return Workspace(root, stages=STAGES)


def read(path):
    return np.asarray(Image.open(path))


def test_masks_are_worked_on_smaller_and_exported_at_the_size_of_the_files(made, tmp_path):
    done(made, "export", "spread", "-o", tmp_path / "out", "--overlay")
    done(made, "export", "spread", "-o", tmp_path / "coco", "--format", "coco-semantic", "--images")
    for image_id in ("a1", "a2"):
        mask = open_workspace(made)["spread", "train"][image_id]["mask"]
        assert mask.shape == WORK
        np.testing.assert_array_equal(read(tmp_path / f"out/{image_id}.png"), SCALING.enlarge(mask))
        assert read(tmp_path / f"out/overlays/{image_id}.jpg").shape[:2] == FILE
        copied = next(path for path in (tmp_path / "coco").rglob(f"{image_id}.png") if Image.open(path).mode == "RGB")
        assert Image.open(copied).size == FILE[::-1]  # upright, also where its file is not
        np.testing.assert_array_equal(read_image(copied), open_workspace(made).dataset.at_file_size().image(image_id))


def test_pixels_of_little_confidence_are_found_at_the_size_of_the_files(made, tmp_path):
    done(made, "segment", "--split", "train", "--workers", 0)
    done(made, "export", "segment", "--min-confidence", 0.6, "--grey", "-o", tmp_path / "out")
    assert read(tmp_path / "out/a1.png").shape == FILE and set(np.unique(read(tmp_path / "out/a1.png"))) == {255}


def test_scores_are_of_the_pixels_of_the_files(made):
    workspace = open_workspace(made)
    (score,) = json.loads(done(made, "evaluate", "spread", "--json").stdout)
    right = counted = 0
    for image_id, class_id in (("a1", 1), ("a2", 2)):
        whole = truth(class_id)
        mask = SCALING.enlarge(workspace["spread", "train"][image_id]["mask"])
        known = whole != 255
        right, counted = right + int((mask == whole)[known].sum()), counted + int(known.sum())
    assert score["accuracy"] == pytest.approx(right / counted, abs=1e-12)
    assert 0.9 < score["accuracy"] < 1  # the thin lines are lost


def test_scores_of_maps_are_of_the_pixels_of_the_files_whatever_the_band(made, monkeypatch):
    first = done(made, "evaluate", "cam", "--json", "--threshold", 0.5).stdout
    monkeypatch.setattr("labelseg.results.scores.BAND", 17)
    assert done(made, "evaluate", "cam", "--json", "--threshold", 0.5).stdout == first
    (score,), (masks,) = json.loads(first), json.loads(done(made, "evaluate", "spread", "--json").stdout)
    assert score["miou"] == pytest.approx(masks["miou"], abs=1e-12)  # spread cuts the same maps at a half


def test_predicted_masks_have_the_size_of_the_files(made, tmp_path):
    images = made.parent / "images"
    done(made, "predict", images, "-o", tmp_path / "p", "--overlay", "--confidence", "--workers", 0)
    for image_id in IDS:
        sized = open_workspace(made).dataset.image(image_id)[..., 0] // toy_chain.STEP
        np.testing.assert_array_equal(read(tmp_path / f"p/masks/{image_id}.png"), SCALING.enlarge(sized))
        assert read(tmp_path / f"p/confidences/{image_id}.png").shape == FILE
        assert read(tmp_path / f"p/overlays/{image_id}.jpg").shape[:2] == FILE
    again = done(made, "predict", images, "-o", tmp_path / "p", "--overlay", "--confidence", "--workers", 0)
    assert "3 images of 3 done before." in again.stderr


def test_a_change_of_the_size_makes_everything_anew_and_none_nothing(made, tmp_path):
    workspace = open_workspace(made)
    keys = {name: {item.id: item.key for item in workspace.catalog.named(workspace.ref(name, "train")).items} for name in ("cam", "spread")}
    states = {row.instance: row.state for row in workspace.status() if row.instance in ("cam", "spread")}
    assert set(states.values()) == {"fresh"}
    toml = made / "labelseg.toml"
    before = toml.read_text()
    try:
        for value in ("--unset", 0):
            done(made, "config", "data.long_side", value)
            assert {r.state for r in open_workspace(made).status() if r.instance == "cam"} == {"stale"}
        done(made, "spread", "--workers", 0)
        now = open_workspace(made)
        for name, old in keys.items():
            items = {item.id: item.key for item in now.catalog.named(now.ref(name, "train")).items}
            assert all(items[image_id] != old[image_id] for image_id in old)
        assert now["spread", "train"]["a1"]["mask"].shape == FILE
    finally:
        toml.write_text(before)
        done(made, "spread", "--workers", 0)
    back = open_workspace(made)
    assert {name: {item.id: item.key for item in back.catalog.named(back.ref(name, "train")).items} for name in keys} == keys


def test_imported_masks_come_back_at_the_size_of_the_files_and_leave_as_they_came(made, tmp_path):
    fine = truth(2)
    (tmp_path / "masks").mkdir()
    Image.fromarray(fine).save(tmp_path / "masks/a1.png")
    try:
        done(made, "import-masks", tmp_path / "masks")
        done(made, "override", "--of", "spread", "--workers", 0)
        arrays = open_workspace(made)["override", "train"]
        np.testing.assert_array_equal(arrays["a1"]["mask"], SCALING.shrink(fine))
        assert "file_mask" not in arrays["a2"]
        done(made, "export", "override", "-o", tmp_path / "out")
        np.testing.assert_array_equal(read(tmp_path / "out/a1.png"), fine)
        (score,) = json.loads(done(made, "evaluate", "override", "--json").stdout)
        np.testing.assert_array_equal(read(tmp_path / "out/a2.png"), SCALING.enlarge(arrays["a2"]["mask"]))
        whole = np.concatenate([truth(1).ravel(), truth(2).ravel()])
        guess = np.concatenate([fine.ravel(), read(tmp_path / "out/a2.png").ravel()])
        assert score["accuracy"] == pytest.approx(float((whole == guess)[whole != 255].mean()), abs=1e-12)
        small = SCALING.shrink(fine)
        Image.fromarray(small).save(tmp_path / "masks/a1.png")
        refused = call(made, "import-masks", tmp_path / "masks")
        assert refused.exit_code == 3 and "expected the size of its image, 161 x 203, got 63 x 80" in refused.output
    finally:
        corrections_path(made, "override").unlink()


def test_a_mask_that_comes_back_untouched_goes_on_following_its_stage(made, tmp_path):
    done(made, "export", "spread", "-o", tmp_path / "out")
    result = done(made, "import-masks", tmp_path / "out", "--changed-from", "spread")
    assert "0 masks taken for override, 2 masks untouched" in result.stderr and not corrections_path(made, "override").exists()


@pytest.fixture
def asked(made):
    done(made, "ask", "--of", "spread", "--choose", "random", "--budget", 12, "--workers", 0)
    yield made
    answers_path(made, "ask").unlink(missing_ok=True)


def test_people_are_asked_about_pixels_of_the_files_and_their_answers_find_the_way_back(asked):
    workspace = open_workspace(asked)
    ref = asked_in(workspace, "ask", "train")
    questions = read_questions(workspace, ref)
    stored = {image_id: item["points"].tolist() for image_id, item in workspace["ask", "train"].items()}
    for image_id, points in stored.items():
        places = [question.points[0] for question in questions if question.image == image_id]
        assert places == [SCALING.to_file(*point) for point in points]
        assert any(row >= WORK[0] or column >= WORK[1] for row, column in places)
    mask = AskedMasks(workspace, ref).mask("a1")
    assert mask.shape == FILE  # drawn over the photo at the size of its file
    done(asked, "answers", "ask", "--truth")
    given = read_answers(answers_path(asked, "ask")).lines
    for line in given:
        assert line.label == dict(enumerate(NAMES)).get(int(truth(IDS[line.image])[line.y, line.x]))
    done(asked, "correct", "--of", "spread", "--reach", 0, "--workers", 0)
    for image_id, item in open_workspace(asked)["correct", "train"].items():
        known = {(a.y, a.x): NAMES.index(a.label) for a in given if a.image == image_id and a.label}
        assert len(item["points"]) == len(known)
        for (row, column), label in zip(item["points"].tolist(), item["point_labels"].tolist(), strict=True):
            assert known[SCALING.to_file(row, column)] == label == item["mask"][row, column]


def test_answers_survive_another_working_size(asked):
    append_answers(answers_path(asked, "ask"), [Answer(image="a1", y=100, x=200, label="dog", who="anna")])
    toml, where = asked / "labelseg.toml", {}
    before = toml.read_text()
    try:
        for side, scaling in ((80, SCALING), (128, Scaling(FILE, (102, 128))), (0, Scaling(FILE, FILE))):
            done(asked, "config", "data.long_side", side)
            done(asked, "correct", "--of", "spread", "--reach", 0, "--partial", "--workers", 0)
            item = open_workspace(asked)["correct", "train"]["a1"]
            where[side] = item["points"].tolist()
            assert where[side] == [list(scaling.to_work(100, 200))]
            assert item["mask"].shape == scaling.work and item["mask"][tuple(where[side][0])] == 2
    finally:
        toml.write_text(before)
        done(asked, "spread", "--workers", 0)


def test_an_answer_outside_of_a_file_is_told_by_its_own_size(asked):
    append_answers(answers_path(asked, "ask"), [Answer(image="a1", y=161, x=0, label="dog"), Answer(image="a1", y=160, x=202, label="dog")])
    told = done(asked, "answers", "ask").stderr
    assert "row 161, column 0 lies outside of 'a1', which has 161 rows and 203 columns" in told
    assert "row 160" not in told


def test_predict_has_tiles_where_the_stage_has_them(made, tmp_path):
    result = call(made, "predict", made.parent / "images", "-o", tmp_path / "p", "--tile", 128)
    assert result.exit_code == 2 and "predict --tile: segment has no tiles. Name an instance of segment." in result.stderr
