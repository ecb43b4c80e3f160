"""diff: numbers worked out by hand on three images of 8 x 10 pixels whose right half is a class."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy_chain
from conftest import labelseg
from PIL import Image

from labelseg.results.differences import compare_masks
from labelseg.results.standing import Named, find_refs
from labelseg.workspace import Workspace


@pytest.fixture
def changed(finished):
    """The first two rows of every object became background since the tag; a1 and a3 are cats, a2 is a dog."""
    assert labelseg(finished, "tag", "before").exit_code == 0
    assert labelseg(finished, "spread", "--rows", "2").exit_code == 0
    return finished


def difference(root, *words):
    result = labelseg(root, "diff", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_changed_pixels_are_counted_class_by_class(changed):
    found = difference(changed, "spread:before", "spread")
    assert (found["first"], found["second"]) == ("spread:before (train)", "spread (train)")
    assert (found["images"], found["pixels"], found["changed"]) == (3, 240, pytest.approx(30 / 240))
    assert found["matrix"] == [[120, 0, 0, 0], [20, 60, 0, 0], [10, 0, 30, 0], [0, 0, 0, 0]]
    assert found["iou"] == {"background": pytest.approx(120 / 150), "cat": 0.75, "dog": 0.75}
    assert found["miou"] == pytest.approx((0.8 + 0.75 + 0.75) / 3)
    assert found["image_changed"] == {name: pytest.approx(1 / 8) for name in ("a1", "a2", "a3")}
    assert found["why"] == ["parameter rows: 0 -> 2"]


def test_both_are_scored_against_the_truth(changed):
    found = difference(changed, "spread:before", "spread")
    assert (found["truth_images"], found["first_miou"]) == (3, 1.0)
    scored = json.loads(labelseg(changed, "evaluate", "spread", "--json").stdout)[0]["miou"]
    assert found["second_miou"] == pytest.approx(scored) == pytest.approx((0.8 + 0.75 + 0.75) / 3)


def test_the_other_way_round_gives_the_transposed_matrix(changed):
    there, back = difference(changed, "spread:before", "spread"), difference(changed, "spread", "spread:before")
    assert np.array(back["matrix"]).T.tolist() == there["matrix"]
    assert (back["miou"], back["changed"]) == (there["miou"], there["changed"])
    assert back["why"] == ["parameter rows: 2 -> 0"]


def test_the_table_tells_where_pixels_went(changed):
    lines = labelseg(changed, "diff", "spread:before", "spread").stdout.splitlines()
    assert lines[:6] == [
        "spread:before (train) -> spread (train)",
        "  parameter rows: 0 -> 2",
        "images   3",
        "changed  12.5 % of 240 pixels",
        "mIoU     76.7 of one against the other",
        "truth    mIoU 100.0 -> 76.7 on 3 images",
    ]
    assert [line.split() for line in lines[8:10]] == [["cat", "background", "20", "8.3"], ["dog", "background", "10", "4.2"]]


def test_nothing_changed(finished, tmp_path):
    found = difference(finished, "spread", "spread")
    assert (found["changed"], found["miou"], found["why"]) == (0.0, 1.0, [])
    result = labelseg(finished, "diff", "spread", "spread", "--plot", tmp_path / "sheet.png")
    assert "Nothing changed, so nothing is drawn" in result.stderr
    assert not (tmp_path / "sheet.png").exists()


def test_on_counts_only_the_images_of_a_split(changed):
    splits = changed / "mine"
    splits.mkdir()
    (splits / "train.txt").write_text("a1\na2\na3\n")
    (splits / "cats.txt").write_text("a1\na3\n")
    labelseg(changed, "config", "data.splits", splits)
    found = difference(changed, "spread:before", "spread", "--on", "cats")
    assert (found["images"], found["matrix"][1][0], found["matrix"][2]) == (2, 20, [0, 0, 0, 0])
    assert found["iou"]["dog"] is None
    assert found["miou"] == pytest.approx((80 / 100 + 60 / 80) / 2)


def test_two_stages_are_compared_on_the_split_of_both(finished):
    labelseg(finished, "segment", "--split", "train")
    found = difference(finished, "segment", "spread")
    assert (found["first"], found["changed"], found["why"]) == ("segment (train)", 0.0, ["stage segment -> spread"])


def test_void_is_a_class_of_its_own(finished):
    from labelseg.results.differences import _pixel_counts, _symmetric_iou

    one, other = np.array([[0, 1, 255, 255]], np.uint8), np.array([[0, 255, 255, 1]], np.uint8)
    matrix = _pixel_counts(one, other, 3, "x")
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]
    assert _symmetric_iou(matrix).tolist()[:2] == [1.0, 0.0]
    assert np.isnan(_symmetric_iou(matrix)[2])


def test_the_matrix_and_the_iou_are_those_of_slow_loops():
    from labelseg.results.differences import _pixel_counts, _symmetric_iou

    rng = np.random.default_rng(0)
    one, other = (rng.choice([0, 1, 2, 3, 255], (9, 7)).astype(np.uint8) for _ in range(2))
    matrix = _pixel_counts(one, other, 4, "x")
    places = {0: 0, 1: 1, 2: 2, 3: 3, 255: 4}
    expected = np.zeros((5, 5), int)
    for a, b in zip(one.ravel(), other.ravel(), strict=True):
        expected[places[int(a)], places[int(b)]] += 1
    assert (matrix == expected).all()
    slow = [((one == k) & (other == k)).sum() / ((one == k) | (other == k)).sum() for k in range(4)]
    assert _symmetric_iou(matrix).tolist() == pytest.approx(slow)


def test_images_of_one_side_and_of_two_sizes_are_told(changed, monkeypatch):
    from labelseg.pipeline.store.artifacts import Artifact

    read = Artifact.__getitem__

    def smaller(self, image_id):
        item = read(self, image_id)
        cut = image_id == "a2" and self.manifest.params["rows"] == 2
        return {**item, "mask": item["mask"][1:]} if cut else item

    monkeypatch.setattr(Artifact, "__getitem__", smaller)
    result = labelseg(changed, "diff", "spread:before", "spread", "--json")
    found = json.loads(result.stdout)
    assert (found["images"], found["sizes_differ"], list(found["image_changed"])) == (2, ["a2"], ["a1", "a3"])
    assert "1 image has masks of two sizes and is not compared, a2 the first." in result.stderr


def test_images_that_one_alone_holds_are_told(finished):
    labelseg(finished, "cam", "--fail", "a2", "--as", "part")
    labelseg(finished, "spread", "--as", "part", "--cam", "cam@part")
    result = labelseg(finished, "diff", "spread", "spread@part", "--json")
    found = json.loads(result.stdout)
    assert (found["images"], found["only_first"], found["only_second"]) == (2, 1, 0)
    assert "1 image is in spread (train) alone and not compared." in result.stderr


def test_the_most_changed_images_come_first(changed, monkeypatch):
    from labelseg.pipeline.store.artifacts import Artifact

    read = Artifact.__getitem__

    def emptier(self, image_id):
        item = read(self, image_id)
        return {**item, "mask": item["mask"] * (image_id != "a2" or self.manifest.params["rows"] == 0)}

    monkeypatch.setattr(Artifact, "__getitem__", emptier)
    found = difference(changed, "spread:before", "spread")
    assert list(found["image_changed"].items()) == [("a2", 0.5), ("a1", 0.125), ("a3", 0.125)]


def test_the_sheet_shows_the_changed_images_with_both_masks(changed, tmp_path):
    result = labelseg(changed, "diff", "spread:before", "spread", "--plot", tmp_path / "sheet.png")
    assert "Drew a1, a2, a3: " in result.stderr
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 256 + 2 * 4, 5 * 300 + 4 * 4, 3)
    # The fourth panel is white where the first two rows of the right half changed, and dark elsewhere.
    panel = sheet[16:256, 3 * 304 : 3 * 304 + 300]
    assert (panel[:60, 150:] == 255).all()
    assert (panel[60:] < 255).all()
    assert (panel[:, :150] < 255).all()


def test_models_are_compared_by_recipe_inputs_and_scores(finished):
    labelseg(finished, "tag", "before")
    labelseg(finished, "config", "train-net.epochs", "9")
    labelseg(finished, "train-net")
    found = difference(finished, "train-net:before", "train-net")
    assert (found["equal"], found["why"], found["inputs"]) == (
        False,
        ["parameter epochs: 2 -> 9"],
        {"data of split": True, "data of validation": True},
    )
    assert found["metrics"] == {"epoch": [2, 2], "loss": [0.5, 0.5], "mAP": [0.75, 0.09]}
    lines = labelseg(finished, "diff", "train-net:before", "train-net").stdout.splitlines()
    assert lines[:5] == [
        "train-net:before -> train-net",
        "  parameter epochs: 2 -> 9",
        "  data of split: the same",
        "  data of validation: the same",
        "  tensors: changed",
    ]
    assert lines[-1].split() == ["mAP", "0.75", "0.09"]
    assert difference(finished, "train-net", "train-net")["equal"] is True


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("cam spread", 2, "cam makes no masks to compare. Name two models, or two of: spread, segment."),
        ("train-net spread", 1, "train-net stands a model, spread on train: there is no split of both"),
        ("spread segment", 1, "spread stands on train, segment on val: there is no split of both"),
        ("spread spread:v0", 1, "there is no tag 'v0'."),
        ("spread spread --split val", 1, "spread has never run here on val. Run: labelseg spread --split val"),
        ("spread spread --on tset", 2, "the data has no split 'tset'. Splits: train, val, all."),
        ("spread spread --on val", 1, "have no image in common on val"),
        ("train-net train-net --on val", 2, "--on and --plot are for masks"),
        ("spread", 2, "Missing argument"),
    ],
)
def test_diff_refuses(finished, words, code, message):
    result = labelseg(finished, "diff", *words.split())
    assert result.exit_code == code, result.output
    assert message in result.stderr


def test_a_picture_needs_a_name_that_tells_its_format(changed, tmp_path):
    result = labelseg(changed, "diff", "spread:before", "spread", "--plot", tmp_path / "sheet")
    assert result.exit_code == 2
    assert "expected a file name that ends as pictures do, such as sheet.png." in result.stderr


def test_python_compares_too(changed):
    workspace = Workspace(changed, stages=toy_chain.STAGES)
    (then,), (now,) = find_refs(workspace, Named("spread", "before")), find_refs(workspace, Named("spread"))
    assert compare_masks(workspace, then, now).changed == pytest.approx(30 / 240)
