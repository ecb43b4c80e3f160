"""export --format, import-masks and override: masks leave a workspace and come back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy_chain
from conftest import TRAIN, labelseg
from PIL import Image

from labelseg.answers.correction_files import corrections_path, mask_path, read_corrections
from labelseg.exchange import WRITTEN
from labelseg.results.exchange.mask_import import is_same
from labelseg.stages.clicks import override
from labelseg.workspace import Workspace

STAGES = (*toy_chain.STAGES, override.STAGE)


def call(root, *words):
    return labelseg(root, *words, stages=STAGES)


def masks(root, instance):
    return {image_id: arrays["mask"] for image_id, arrays in Workspace(root, stages=STAGES)[instance, "train"].items()}


def corrected(folder, **masks):
    folder.mkdir()
    for name, mask in masks.items():
        Image.fromarray(np.asarray(mask, np.uint8)).save(folder / f"{name}.png")
    return folder


CORRECTED = np.full((8, 10), 2)


def stage_run(root, *words):
    result = call(root, "override", "--of", "spread", "--workers", 0, *words)
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize("form", WRITTEN)
def test_every_format_can_be_written(finished, tmp_path, form):
    pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    output = tmp_path / ("out.zip" if form == "cvat" else "out")
    result = call(finished, "export", "spread", "--format", form, "-o", output)
    assert result.exit_code == 0, result.output
    assert f"Wrote 3 masks to {output} as {form}." in result.stderr
    again = call(finished, "export", "spread", "--format", form, "-o", output)
    assert again.exit_code == 2 and "something is there already" in again.stderr


def test_several_splits_go_into_one_folder(finished, tmp_path):
    assert labelseg(finished, "spread", "--split", "val", "--workers", 0).exit_code == 0
    words = ("export", "spread", "--split", "train", "--split", "val", "-o", tmp_path / "out")
    assert labelseg(finished, *words, "--format", "yolo-seg").exit_code == 0
    assert {path.stem for path in (tmp_path / "out/labels/train").iterdir()} == set(TRAIN)
    assert {path.stem for path in (tmp_path / "out/labels/val").iterdir()} == {"b1", "b2"}
    assert 'val: "images/val"' in (tmp_path / "out/data.yaml").read_text()


def test_pixels_of_little_confidence_become_unknown(finished, tmp_path):
    assert labelseg(finished, "segment", "--split", "train", "--workers", 0).exit_code == 0
    for value, expected in ((0.5, {0, 1}), (0.6, {255})):
        out = tmp_path / str(value)
        assert labelseg(finished, "export", "segment", "--min-confidence", value, "--grey", "-o", out).exit_code == 0
        assert set(np.unique(np.asarray(Image.open(out / "a1.png"))).tolist()) == expected
    result = labelseg(finished, "export", "spread", "--min-confidence", 0.5, "-o", tmp_path / "x")
    assert result.exit_code == 2 and "spread writes no confidence" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--format cvat -o out", "cvat is one file. Name it: -o out.zip"),
        ("--format coco -o out.json", "coco is a folder of files. Name one: -o out"),
        ("--format yolo-seg --polygons -o out", "--polygons belongs to coco"),
        ("--format yolo-seg --images -o out", "images are copied always"),
        ("--format yolo-seg --grey -o out", "--grey and --overlay belong to png"),
        ("--polygons -o out", "belong to other formats"),
        ("--split train --split all -o out --format mmseg", "has never run here on all"),
    ],
)
def test_export_refuses_what_a_format_does_not_have(finished, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = labelseg(finished, "export", "spread", *words.split())
    assert result.exit_code in (1, 2)
    assert message in result.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_classes_of_an_export_are_those_of_its_masks(finished, tmp_path):
    Workspace(finished, stages=STAGES).write_config("data", {"classes": ["background", "cat", "dog", "cow"]})
    result = labelseg(finished, "export", "spread", "--format", "huggingface", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/README.md").read_text().endswith("- 0: background\n- 1: cat\n- 2: dog\n")
    assert "was made with other classes than the data has now" in result.stderr


def test_an_image_that_cannot_be_copied_costs_that_mask_only(finished, data, tmp_path):
    (data / "images" / "a2.png").write_bytes(b"no image")
    Workspace(finished, stages=STAGES).write_config("data", {"images": str(data / "images")})
    result = call(finished, "export", "spread", "--format", "fiftyone", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "Wrote 2 masks" in result.stderr and "a2.png" in result.stderr
    assert not (tmp_path / "out/train/labels/a2.png").exists()


def test_imported_masks_override_image_by_image(finished, tmp_path):
    before = masks(finished, "spread")
    stage_run(finished)
    result = call(finished, "import-masks", corrected(tmp_path / "new", a2=CORRECTED), "--who", "anna")
    assert result.exit_code == 0, result.output
    assert "Read as png: 1 mask taken for override. Next: labelseg override" in result.stderr
    assert "1 of 3 images" in stage_run(finished)
    after = masks(finished, "override")
    assert (after["a2"] == CORRECTED).all()
    assert all((after[name] == before[name]).all() for name in ("a1", "a3"))
    (line,) = read_corrections(corrections_path(finished, "override")).lines
    assert (line.image, line.who, line.form, line.classes) == ("a2", "anna", "png", ("background", "cat", "dog"))
    assert call(finished, "gc").exit_code == 0
    assert mask_path(finished, line.mask).is_file()
    assert "nothing to do" in stage_run(finished)


def test_the_same_mask_again_changes_nothing(finished, tmp_path):
    folder = corrected(tmp_path / "new", a2=CORRECTED)
    for expected in ("1 mask taken for override.", "0 masks taken for override, 1 mask there before."):
        assert expected in call(finished, "import-masks", folder).stderr
    assert len(read_corrections(corrections_path(finished, "override")).lines) == 1


def test_masks_that_came_back_untouched_go_on_following_their_stage(finished, tmp_path):
    labelseg(finished, "export", "spread", "-o", tmp_path / "out")
    Image.fromarray(CORRECTED.astype(np.uint8)).save(tmp_path / "out" / "a2.png")
    result = call(finished, "import-masks", tmp_path / "out", "--changed-from", "spread", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["taken"], facts["untouched"]) == (["a2"], ["a1", "a3"])
    assert list(read_corrections(corrections_path(finished, "override")).current()) == ["a2"]
    assert "it makes no masks" in call(finished, "import-masks", tmp_path / "out", "--changed-from", "cam").stderr


def test_what_to_run_next_names_what_went_out_and_a_split_that_holds_the_images(finished, tmp_path):
    assert labelseg(finished, "spread", "--as", "low", "--rows", 4, "--split", "val").exit_code == 0
    folder = corrected(tmp_path / "new", b1=CORRECTED)
    stage_run(finished)
    for more, expected in (((), ""), (("--changed-from", "spread"), ""), (("--changed-from", "spread@low"), " --of spread@low")):
        assert f". Next: labelseg override --split val{expected}\n" in call(finished, "import-masks", folder, *more).stderr
        assert "Next: labelseg override --split val\n" in call(finished, "import-masks", "--withdraw", "b1").stderr


@pytest.mark.parametrize(
    ("came", "went", "expected"),
    [
        ([[1, 0]], [[1, 0]], True),
        ([[1, 0]], [[1, 255]], True),
        ([[1, 2]], [[1, 255]], False),
        ([[1, 255]], [[1, 0]], False),
        ([[1]], [[1, 1]], False),
    ],
)
def test_a_mask_is_untouched_where_only_what_a_format_cannot_hold_is_gone(came, went, expected):
    assert is_same(np.array(came, np.uint8), np.array(went, np.uint8)) is expected


def test_a_withdrawn_mask_counts_no_longer(finished, tmp_path):
    call(finished, "import-masks", corrected(tmp_path / "new", a2=CORRECTED))
    result = call(finished, "import-masks", "--withdraw", "a2.png")
    assert result.exit_code == 0 and "1 imported mask of override counts no longer" in result.stderr
    stage_run(finished)
    assert (masks(finished, "override")["a2"] == masks(finished, "spread")["a2"]).all()
    assert "no mask of a1 was imported" in call(finished, "import-masks", "--withdraw", "a1").stderr


def test_good_masks_are_taken_and_bad_ones_told(finished, tmp_path):
    folder = corrected(tmp_path / "new", a1=np.ones((8, 9)), a2=CORRECTED, a3=np.full((8, 10), 7), zebra=CORRECTED)
    result = call(finished, "import-masks", folder, "--json")
    assert result.exit_code == 3
    facts = json.loads(result.stdout)
    assert facts["taken"] == ["a2"] and facts["same"] == []
    told = {place.rpartition("/")[2]: reason for place, reason in facts["refused"].items()}
    assert "expected the size of its image" in told["a1.png"]
    assert "value 7" in told["a3.png"]
    assert "no image 'zebra'" in told["zebra.png"]
    assert "3 masks could not be taken" in result.stderr


def test_two_masks_of_one_image_are_told(finished, tmp_path):
    folder = corrected(tmp_path / "new", a2=CORRECTED)
    corrected(folder / "more", a2=CORRECTED)
    result = call(finished, "import-masks", folder)
    assert result.exit_code == 3
    assert "1 mask taken" in result.stderr and "more/a2" in result.stderr


def test_masks_of_another_program_are_a_label_source(finished, tmp_path):
    call(finished, "import-masks", corrected(tmp_path / "new", a1=CORRECTED, a2=CORRECTED), "--to", "override@sam")
    result = call(finished, "override", "--as", "sam", "--of", "", "--workers", 0)
    assert result.exit_code == 0, result.output
    found = masks(finished, "override@sam")
    assert (found["a1"] == 2).all() and (found["a3"] == 255).all()
    assert call(finished, "override", "--as", "twice", "--of", "override@sam", "--workers", 0).exit_code == 0
    assert (masks(finished, "override@twice")["a1"] == 2).all()


def test_ids_of_imported_masks_follow_their_names(finished, data, tmp_path):
    (data / "labels.csv").write_text("image,labels\na1,cat\n")
    call(finished, "import-masks", corrected(tmp_path / "new", a1=CORRECTED))
    workspace = Workspace(finished, stages=STAGES)
    workspace.write_config("data", {"classes": ["background", "dog", "cat"], "labels": str(data / "labels.csv")})
    result = call(finished, "override", "--of", "", "--workers", 0)
    assert result.exit_code == 0, result.output
    assert (masks(finished, "override")["a1"] == 1).all()
    workspace.write_config("data", {"classes": ["background", "cat", "cow"]})
    result = call(finished, "override", "--of", "", "--workers", 0)
    assert "'dog' of its imported mask is no class now" in result.stderr


def test_a_damaged_mask_costs_its_image_only(finished, tmp_path):
    call(finished, "import-masks", corrected(tmp_path / "new", a1=CORRECTED))
    (path,) = (finished / "corrections/masks").rglob("*.png")
    path.write_bytes(path.read_bytes() + b"1")
    result = call(finished, "override", "--of", "spread", "--workers", 0)
    assert result.exit_code == 3
    assert "is damaged" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected one of PATH and --withdraw IMAGE"),
        (("{data}/masks", "--withdraw", "a1"), "expected one of PATH and --withdraw IMAGE"),
        (("{data}/masks", "--to", "spread"), "it reads no imported masks. Name an instance of override"),
        (("{data}/masks", "--to", "override@../x"), "expected a name of letters"),
        (("{data}/labels.csv",), "expected a folder of PNG masks, an export of CVAT"),
        (("{data}/masks", "--format", "cvat"), "expected labelmap.txt"),
    ],
)
def test_import_masks_refuses(finished, data, words, message):
    result = call(finished, "import-masks", *(word.format(data=data) for word in words))
    assert result.exit_code in (1, 2)
    assert message in result.stderr.replace("\n", " ")
    assert not (finished / "corrections").exists()


@pytest.mark.parametrize(
    ("words", "output", "left"),
    [
        ("export spread -o out", "out/a1.png", "out/.a3.png.%s.tmp"),
        ("export spread --overlay -o out", "out/overlays/a1.jpg", "out/overlays/.a3.jpg.%s.tmp"),
        ("export spread --format mmseg -o out", "out/img_dir", ".out.%s.tmp/img_dir"),
        ("export spread --format cvat -o out.zip", "out.zip", ".out.zip.%s.tmp"),
        ("export train-net --model m.safetensors", "m.safetensors", ".m.safetensors.%s.tmp"),
        ("report -o r.html", "r.html", ".r.html.%s.tmp"),
        ("show spread a1 --plot a.png", "a.png", ".a.png.%s.tmp"),
        ("predict IMAGES -o out --workers 0", "out/masks/a1.png", "out/masks/.a1.png.%s.tmp"),
        ("import-masks MASKS", "w/corrections/override.jsonl", "w/corrections/masks/00/.00.png.%s.tmp"),
        ("config cam.flip false", "w/labelseg.toml", "w/.labelseg.toml.%s.tmp"),
    ],
)
def test_what_a_killed_command_left_goes_when_it_is_called_again(finished, data, tmp_path, monkeypatch, words, output, left):
    monkeypatch.chdir(tmp_path)
    leftover = tmp_path / (left % ("0" * 32))
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_bytes(b"half")
    places = {"IMAGES": data / "images", "MASKS": data / "masks"}
    result = call(finished, *(places.get(word, word) for word in words.split()))
    assert result.exit_code == 0, result.output
    assert (tmp_path / output).exists()
    assert [path for path in tmp_path.rglob("*.tmp") if ".labelseg" not in path.relative_to(tmp_path).parts] == []


def test_an_export_that_is_whole_is_refused_again_and_its_leftovers_go(finished, tmp_path):
    words = ("export", "spread", "--format", "mmseg", "-o", tmp_path / "out")
    assert call(finished, *words).exit_code == 0
    (tmp_path / f".out.{'0' * 32}.tmp").mkdir()
    assert call(finished, *words).exit_code == 2
    assert list(tmp_path.glob("*.tmp")) == []


def test_where_no_stage_reads_imported_masks_that_is_said(finished, tmp_path):
    result = labelseg(finished, "import-masks", corrected(tmp_path / "new", a2=CORRECTED), stages=toy_chain.STAGES)
    assert result.exit_code == 2
    assert "no stage here reads imported masks. Known: " in result.stderr
