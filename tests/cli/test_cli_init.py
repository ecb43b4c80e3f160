"""What init finds, writes and refuses."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import labelseg
from PIL import Image
from safetensors.torch import save_file

from labelseg.cli import STAGES
from labelseg.commands.setup.recipes import TWO_ROUNDS, recipe_tables
from labelseg.commands.setup.survey import Survey
from labelseg.data.dataset import open_dataset
from labelseg.models.encoders.registry import build_backbone
from labelseg.pipeline.declare.config import Config


def tables(root: Path) -> dict:
    return tomllib.loads((root / "labelseg.toml").read_text())


def write_weights(path: Path) -> None:
    """Write tensors of the shapes of the default backbone."""
    with torch.device("meta"):
        state = build_backbone("mobilenet_v2", 16).state_dict()
    save_file({name: torch.zeros(tensor.shape) for name, tensor in state.items()}, path)


def test_from_finds_everything_under_its_usual_name(data, tmp_path):
    root = tmp_path / "w"
    result = labelseg(root, "init", "--from", data)
    assert result.exit_code == 0
    assert tables(root)["data"] == {
        "images": str(data / "images"),
        "labels": str(data / "labels.csv"),
        "masks": str(data / "masks"),
        "classes": str(data / "classes.txt"),
        "splits": str(data),
    }
    assert tables(root)["run"] == {"target": "segment", "split": "val"}


def test_counts_are_told(data, tmp_path):
    output = labelseg(tmp_path / "w", "init", "--from", data).stdout
    assert [line.split() for line in output.splitlines()[1:4]] == [["train", "3", "3", "3"], ["val", "2", "2", "2"], ["all", "5", "5", "5"]]
    assert "background, cat 3, dog 2" in output


def test_paths_in_the_workspace_are_relative(data, tmp_path):
    assert labelseg(data, "init", "--from", data).exit_code == 0
    assert tables(data)["data"]["images"] == "images"
    assert tables(data)["data"]["splits"] == "."
    assert labelseg(data, "status").exit_code == 0


def test_parts_named_one_by_one(data, tmp_path):
    result = labelseg(tmp_path / "w", "init", "--images", data / "images", "--labels", data / "labels.csv")
    assert result.exit_code == 0
    assert set(tables(tmp_path / "w")["data"]) == {"images", "labels"}
    assert tables(tmp_path / "w")["run"]["split"] == "train"


def test_a_part_named_wins_over_the_one_found(data, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("image,labels\na1,dog\n")
    assert labelseg(tmp_path / "w", "init", "--from", data, "--labels", other).exit_code == 0
    assert tables(tmp_path / "w")["data"]["labels"] == str(other)


def test_trainings_are_told_the_validation_split_and_the_weights(data, tmp_path):
    weights = tmp_path / "w.safetensors"
    write_weights(weights)
    assert labelseg(tmp_path / "w", "init", "--from", data, "--weights", weights, stages=STAGES).exit_code == 0
    found = tables(tmp_path / "w")
    small = {"warmup_share": 0.1, "weights": str(weights)}
    assert found["train-classifier"] == {**small, "validation": "val", "keep": "best", "min_updates": 200}
    assert found["train-segmenter"] == {**small, "validation": "val", "keep": "best", "min_updates": 500}
    found["train-affinity"].pop("two")
    assert found["train-affinity"] == {**small, "min_updates": 150}


def test_few_masks_are_learned_for_as_many_updates_as_tags(data, tmp_path):
    assert labelseg(tmp_path / "w", "init", "--from", data, "--recipe", "few-masks", stages=STAGES).exit_code == 0
    found = tables(tmp_path / "w")
    for name in ("train-unimatch", "train-pseudoseg"):
        assert (found[name]["min_updates"], found[name]["warmup_share"]) == (500, 0.1)


def test_a_training_does_not_validate_on_what_is_not_there(data, tmp_path):
    for name in ("b1", "b2"):
        (data / "masks" / f"{name}.png").unlink()
    assert labelseg(tmp_path / "w", "init", "--from", data, stages=STAGES).exit_code == 0
    assert tables(tmp_path / "w")["train-segmenter"].keys() == {"warmup_share", "min_updates"}
    assert tables(tmp_path / "w")["train-classifier"]["validation"] == "val"


def test_masks_under_another_ending_are_told_and_read_by_it(data, tmp_path):
    for path in (data / "masks").iterdir():
        path.rename(path.with_stem(f"{path.stem}_L"))
    without = labelseg(tmp_path / "w", "init", "--from", data)
    assert "Name those to labelseg init: --mask-suffix _L; in labelseg.toml under [data]" in without.stderr
    (data / "masks" / "b1_L.png").rename(data / "masks" / "b1.png")
    told = labelseg(tmp_path / "w", "init", "--from", data)
    assert re.search(r"4 masks with the name of no image: a1_L\.png.*: not used\. They are named .*--mask-suffix _L;", told.stderr)
    (data / "masks" / "b1.png").rename(data / "masks" / "b1_L.png")
    assert labelseg(tmp_path / "w", "config", "data.mask_suffix", "_L").exit_code == 0
    assert labelseg(tmp_path / "v", "init", "--from", data, "--mask-suffix", "_L").exit_code == 0
    for root in (tmp_path / "w", tmp_path / "v"):
        assert tables(root)["data"]["mask_suffix"] == "_L"
        dataset = open_dataset(root, tables(root)["data"])
        assert [dataset.has(image_id, "mask") for image_id in dataset.ids("all")] == [True] * 5
    assert labelseg(tmp_path / "v", "data", "add", "other", "--images", data / "images", "--masks", data / "masks").exit_code == 0
    words = ["--images", data / "images", "--masks", data / "masks", "--mask-suffix", "_L"]
    added = labelseg(tmp_path / "v", "data", "add", "more", *words)
    assert re.search(r"more:train +5 +5", added.stdout), added.output
    wrong = labelseg(tmp_path / "x", "init", "--from", data, "--mask-suffix", "_L.png")
    assert wrong.exit_code == 2
    assert "[data] mask_suffix: expected what names end in before the extension, such as '_mask', got '_L.png'" in wrong.stderr


def test_a_share_can_be_held_out(data, tmp_path):
    words = ["--images", data / "images", "--labels", data / "labels.csv", "--val", "0.4"]
    assert labelseg(tmp_path / "w", "init", *words).exit_code == 0
    assert tables(tmp_path / "w")["data"]["fractions"] == {"val": 0.4}
    assert tables(tmp_path / "w")["run"]["split"] == "val"


def test_scenes(tmp_path):
    assert labelseg(tmp_path / "w", "init", "--scenes", "4").exit_code == 0
    assert tables(tmp_path / "w")["data"] == {"scenes": {"train": 4, "val": 2}}


def test_a_workspace_is_never_overwritten(data, tmp_path):
    labelseg(tmp_path / "w", "init", "--from", data)
    before = (tmp_path / "w" / "labelseg.toml").read_bytes()
    result = labelseg(tmp_path / "w", "init", "--from", data)
    assert result.exit_code == 2
    assert "exists. Edit it" in result.stderr
    assert (tmp_path / "w" / "labelseg.toml").read_bytes() == before


def test_no_data_named(tmp_path):
    result = labelseg(tmp_path / "w", "init")
    assert result.exit_code == 2
    assert "--images DIR --labels FILE" in result.stderr


def test_scenes_stand_alone(data, tmp_path):
    assert labelseg(tmp_path / "w", "init", "--from", data, "--scenes").exit_code == 2


def test_a_folder_without_images(tmp_path):
    result = labelseg(tmp_path / "w", "init", "--from", tmp_path)
    assert result.exit_code == 1
    assert "expected a folder images/" in result.stderr


def test_an_unknown_class_names_its_line_and_nothing_is_written(data, tmp_path):
    (data / "labels.csv").write_text("image,labels\na1,cat\na2,dgo\n")
    result = labelseg(tmp_path / "w", "init", "--from", data)
    assert result.exit_code == 1
    assert "labels.csv line 3: 'dgo' is no class. Did you mean 'dog'?" in result.stderr
    assert not (tmp_path / "w").exists()


def test_names_that_are_no_classes_are_told_all_at_once(data, tmp_path):
    (data / "labels.csv").write_text("image,labels\na1,cat;zebra\na2,dgo\na3,zebra\n")
    result = labelseg(tmp_path / "w", "init", "--from", data, "--anyway")
    assert result.exit_code == 1
    told = "labels.csv: 2 names are no classes: 'zebra' (line 2 and 1 line more), 'dgo' (line 3; did you mean dog?). Classes: background"
    assert told in result.stderr
    assert not (tmp_path / "w").exists()


def test_masks_without_names_of_their_classes_are_told_so_before_there_is_a_file(data, tmp_path):
    given = ("init", "--images", data / "images", "--masks", data / "masks", "--recipe")
    result = labelseg(tmp_path / "w", *given, "few-masks")
    assert result.exit_code == 1 and "nothing names their classes" in result.stderr and "--classes FILE" in result.stderr
    result = labelseg(tmp_path / "w", *given, "tags", "--classes", data / "classes.txt")
    assert result.exit_code == 1 and "--recipe few-masks" in result.stderr


def test_masks_that_come_later_need_the_names_of_their_classes_first(data, tmp_path):
    root = tmp_path / "w"
    assert labelseg(root, "init", "--images", data / "images", "--labels", data / "labels.csv").exit_code == 0
    refused = labelseg(root, "config", "data.masks", data / "masks")
    assert refused.exit_code == 1
    assert refused.stderr.rstrip().endswith("in a workspace that is there: labelseg config data.classes FILE")
    for key in ("classes", "masks"):
        assert labelseg(root, "config", f"data.{key}", data / f"{key}{'.txt' if key == 'classes' else ''}").exit_code == 0
    assert tables(root)["data"]["masks"] == str(data / "masks")


def test_images_alone_can_learn_from_masks_made_elsewhere(data, tmp_path):
    given = ("init", "--images", data / "images", "--classes", data / "classes.txt")
    assert "--recipe imported-masks" in labelseg(tmp_path / "w", *given).stderr
    result = labelseg(tmp_path / "w", *given, "--recipe", "imported-masks", stages=STAGES)
    assert result.exit_code == 0 and "import-masks PATH, then labelseg" in result.stderr
    assert tables(tmp_path / "w")["override"] == {"of": ""} and tables(tmp_path / "w")["train-segmenter"]["labels"] == "override"
    plan = labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stdout.splitlines()
    assert [line.split()[0] for line in plan[1:4]] == ["override", "train-segmenter", "segment"]


def test_weights_of_another_network_are_refused_before_anything_is_written(data, tmp_path):
    fitting, other = tmp_path / "fitting.safetensors", tmp_path / "other.safetensors"
    write_weights(fitting)
    save_file({"features.0.weight": torch.zeros(3)}, other)
    result = labelseg(tmp_path / "w", "init", "--from", data, "--weights", other, stages=STAGES)
    assert result.exit_code == 1 and "do not fit the network" in result.stderr and "mobilenet_v2: --weights FILE" in result.stderr
    assert not (tmp_path / "w").exists()
    assert labelseg(tmp_path / "w", "init", "--from", data, "--weights", fitting, stages=STAGES).exit_code == 0
    told = labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stderr
    taken = f"{fitting} fits mobilenet_v2: 260 tensors taken (features 260)."
    assert re.search(rf"note: weights of train-classifier(, train-[a-z]+)*: {re.escape(taken)}", told)
    assert "error" not in told
    labelseg(tmp_path / "w", "config", "train-classifier.weights", other, stages=STAGES)
    told = labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stderr
    assert "error: weights of train-classifier" in told and "config train-classifier.weights FILE" in told


@pytest.fixture
def vit_weights(tmp_path):
    """A file of weights of a tiny transformer of timm, whose metadata names a licence."""
    path = tmp_path / "vit.safetensors"
    with torch.device("meta"):
        state = build_backbone("timm:test_vit", 16).state_dict()
    save_file({name: torch.zeros(tensor.shape) for name, tensor in state.items()}, path, metadata={"license": "mit"})
    return path


def test_a_backbone_of_timm_and_its_weights_are_those_of_all_trainings(data, tmp_path, vit_weights):
    result = labelseg(tmp_path / "w", "init", "--from", data, "--backbone", "timm:test_vit", "--weights", vit_weights, stages=STAGES)
    assert result.exit_code == 0, result.stderr
    assert f"note: weights of the trainings: {vit_weights} has the licence mit, as the file itself says." in result.stderr
    written = tables(tmp_path / "w")
    trainings = [stage.name for stage in STAGES if {"backbone", "epochs"} <= {f.name for f in fields(stage.params)}]
    assert {"train-classifier", "train-affinity", "train-segmenter", "train-unimatch", "wilson"} < set(trainings)
    assert "import-network" not in written  # what is taken in has a backbone of its own
    for name in trainings:
        assert (written[name]["backbone"], written[name]["weights"]) == ("timm:test_vit", str(vit_weights)), name
    assert "licence mit" in labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stderr


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (["--backbone", "timm:test_vitt"], 1, "knows no network of that name. Did you mean 'timm:test_vit"),
        (["--backbone", "timm:test_vit"], 1, "hf download timm/test_vit.r160_in1k model.safetensors"),
        (["--backbone", "timm:"], 2, "init --backbone: expected one of mobilenet_v2"),
        (["--backbone", "resnet19"], 2, "timm:NAME, got 'resnet19'. Did you mean 'resnet18'?"),
        (["--backbone", "tiny"], 1, "the trainings cannot begin. Give a file: --weights FILE; or begin from random ones: --weights none"),
        (["--backbone", "timm:swin"], 1, "no network of that name. Did you mean 'timm:swin_"),
        (["--backbone", "timm:swin_tiny_patch4_window7_224", "--weights", "none"], 1, "Choose another, such as timm:convnext_tiny: the tr"),
    ],
)
def test_a_backbone_that_no_training_can_begin_from_is_refused(data, tmp_path, given, code, told):
    result = labelseg(tmp_path / "w", "init", "--from", data, *given, stages=STAGES)
    assert result.exit_code == code and told in result.stderr
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(("backbone", "stride"), [("tiny", None), ("timm:test_resnet", None), ("timm:mobilenetv3_small_050", 32)])
def test_a_backbone_without_weights_begins_from_random_ones_where_that_is_said(data, tmp_path, backbone, stride):
    given = ("init", "--from", data, "--backbone", backbone, "--weights", "none")
    result = labelseg(tmp_path / "w", *given, stages=STAGES)
    assert result.exit_code == 0, result.stderr
    assert {table["weights"] for table in tables(tmp_path / "w").values() if "backbone" in table} == {"none"}
    assert {table.get("output_stride") for table in tables(tmp_path / "w").values() if "backbone" in table} == {stride}
    assert "error" not in labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stderr


def test_a_download_to_come_is_told_with_its_size_and_place(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert labelseg(tmp_path / "w", "init", "--from", data, stages=STAGES).exit_code == 0
    told = labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stderr
    assert told.count("will be downloaded to") == 1 and "(14 MB)" in told and str(tmp_path / "torch") in told
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "mobilenet_v2-7ebf99e0.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert "downloaded" not in labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stderr


@pytest.mark.parametrize(("rename", "message"), [("masks", "none of its masks"), ("labels", "no image 'x'")])
def test_names_that_match_no_image(data, tmp_path, rename, message):
    for path in (data / "masks").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    changed = {"masks": "image,labels\na1,cat\n", "labels": "image,labels\nx,cat\n"}
    (data / "labels.csv").write_text(changed[rename])
    result = labelseg(tmp_path / "w", "init", "--from", data)
    assert result.exit_code == 1
    assert message in result.stderr


def test_data_without_tags_cannot_learn_from_tags(data, tmp_path):
    result = labelseg(tmp_path / "w", "init", "--images", data / "images", "--classes", data / "classes.txt")
    assert result.exit_code == 1
    assert "--labels FILE" in result.stderr


def test_an_image_that_cannot_be_read_is_found(data, tmp_path):
    (data / "images" / "a1.png").write_bytes((data / "images" / "a2.png").read_bytes()[:40])
    result = labelseg(tmp_path / "w", "init", "--from", data)
    assert result.exit_code == 1
    assert "a1.png" in result.stderr


def test_the_recipe_for_few_masks_segments_by_what_learned_from_them(data, tmp_path):
    result = labelseg(tmp_path / "w", "init", "--from", data, "--recipe", "few-masks", stages=STAGES)
    assert result.exit_code == 0
    assert "labelseg split --labelled N" in result.stderr
    assert tables(tmp_path / "w")["segment"] == {"model": "train-unimatch"}
    assert labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stdout.split("\n")[1].startswith("train-unimatch")


def test_the_recipe_for_another_domain_asks_in_three_rounds_once_its_images_are_there(data, tmp_path):
    result = labelseg(tmp_path / "w", "init", "--from", data, "--recipe", "adapt", stages=STAGES)
    assert "Next: labelseg data add target --images DIR, then labelseg run" in result.stderr
    early = labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES)
    assert early.exit_code == 2
    assert re.search(r"no data set 'target' yet\. Add it: labelseg data add target --images DIR\.", early.stderr)
    assert labelseg(tmp_path / "w", "data", "add", "target", "--images", data / "images", stages=STAGES).exit_code == 0
    rows = [line.split()[0] for line in labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stdout.splitlines()[1:]]
    rounds = [name for k in (1, 2, 3) for name in (f"train-selector@{k}", f"labor-select@{k}", f"labor-annotate@{k}", f"train-uda@{k}")]
    assert rows == ["train-uda@0", *rounds, "segment"]


def test_the_recipe_for_few_masks_needs_masks(data, tmp_path):
    for mask in (data / "masks").glob("a*.png"):
        mask.unlink()
    result = labelseg(tmp_path / "w", "init", "--from", data, "--recipe", "few-masks", stages=STAGES)
    assert result.exit_code == 1
    assert "no image of the split train has a mask" in result.stderr


def test_what_was_found_on_photos_is_written_for_photos(data, tmp_path):
    assert labelseg(tmp_path / "w", "init", "--from", data, "--recipe", "tags-one-round", stages=STAGES).exit_code == 0
    found = tables(tmp_path / "w")
    assert (found["refine"]["alpha_high"], found["propagate"]["threshold"], found["propagate"]["crf"]) == (2.8, 0.55, True)
    assert (tmp_path / "w" / "labelseg.toml").read_text().count("# Found on photos") == 2
    assert labelseg(tmp_path / "w", "config", stages=STAGES).exit_code == 0
    assert labelseg(tmp_path / "s", "init", "--scenes", "4", stages=STAGES).exit_code == 0
    assert not {"refine", "propagate"} & tables(tmp_path / "s").keys()


def test_the_recipe_from_tags_is_a_chain_of_two_rounds_that_runs_to_the_segmenter(data, tmp_path):
    assert labelseg(tmp_path / "w", "init", "--from", data, stages=STAGES).exit_code == 0
    found = tables(tmp_path / "w")
    assert found["train-affinity"]["two"]["epochs"] == 120  # one update an epoch, on so few images
    assert found["train-affinity"]["min_updates"] == 150
    assert found["cam"] == {"kind": "mean"}
    assert (tmp_path / "w" / "labelseg.toml").read_text().count("# Found on photos") == len(TWO_ROUNDS) - 1
    assert "# The images that the segmenter learned from, with their tags" in (tmp_path / "w" / "labelseg.toml").read_text()
    planned = labelseg(tmp_path / "w", "run", "--dry-run", stages=STAGES).stdout.split("\n")
    order = [line.split()[0] for line in planned[1:] if line.strip()]
    first = ["train-classifier", "cam", "refine", "affinity-labels", "train-affinity", "propagate@one"]
    assert order[:10] == [*first, "refine@two", "affinity-labels@two", "train-affinity@two", "propagate"]


def test_a_recipe_from_tags_needs_them(data, tmp_path):
    (data / "labels.csv").unlink()
    result = labelseg(tmp_path / "w", "init", "--from", data, stages=STAGES)
    assert result.exit_code == 1
    assert "--labels FILE" in result.stderr


@pytest.mark.parametrize(("images", "epochs"), [(7, 120), (8, 120), (48, 20), (50, 20), (480, 2), (1000, 2)])
def test_a_training_that_goes_on_has_enough_epochs(images, epochs):
    survey = Survey(("background", "cat"), images={"train": images})
    assert recipe_tables("tags", STAGES, survey, photos=True)["train-affinity.two"]["epochs"] == epochs


def test_the_size_of_images_is_told_and_large_ones_are_warned_of(data, tmp_path):
    result = labelseg(tmp_path / "w", "init", "--from", data)
    assert "longer side of the images: 10 pixels (median)" in result.stdout
    assert "That is large" not in result.stdout
    Image.new("RGB", (1400, 3)).save(data / "images/a1.png")
    Image.new("L", (1400, 3), 1).save(data / "masks/a1.png")
    mixed = labelseg(tmp_path / "mixed", "init", "--from", data)
    assert "longer side of the images: 10 pixels (median), 1,400 of the largest\n" in mixed.stdout
    assert "1 of 5 images looked at far larger than the median of 10 pixels, a1.png of 1,400 the largest" in mixed.stderr
    for path in (data / "images").iterdir():
        Image.fromarray(np.zeros((3, 1200, 3), np.uint8)).save(path)
    for path in (data / "masks").iterdir():
        Image.fromarray(np.zeros((3, 1200), np.uint8)).save(path)
    result = labelseg(tmp_path / "large", "init", "--from", data)
    assert "longer side of the images: 1,200 pixels (median)\n  That is large: " in result.stdout


@pytest.mark.parametrize(("height", "words", "side"), [(1700, (), 512), (1700, ("--recipe", "few-masks"), 1024), (1600, (), 0)])
def test_photos_from_a_camera_get_a_working_size(data, tmp_path, height, words, side):
    for path in (data / "images").iterdir():
        Image.new("RGB", (1200, height)).save(path)
    for path in (data / "masks").iterdir():
        Image.new("L", (1200, height), 1).save(path)
    result = labelseg(tmp_path / "large", "init", "--from", data, *words, stages=STAGES)
    assert result.exit_code == 0, result.output
    assert tables(tmp_path / "large")["data"].get("long_side", 0) == side
    assert (f"Images of 2.0 megapixels (median) are worked on at a longer side of {side:,} pixels" in result.stderr) == bool(side)
    assert "masks are written at the size of the files" in (tmp_path / "large/labelseg.toml").read_text() or not side
    assert ("labelseg config data.long_side 512" in result.stdout) == (not side)


def test_a_preset_writes_the_settings_of_its_paper_whatever_the_number_of_images(data, tmp_path):
    assert labelseg(tmp_path / "w", "init", "--from", data, "--preset", "irn", stages=STAGES).exit_code == 0
    found = tables(tmp_path / "w")
    assert {key: found["train-affinity"][key] for key in ("kind", "radius", "epochs", "dilate")} == {
        "kind": "irn", "radius": 10, "epochs": 3, "dilate": False
    }  # fmt: skip
    assert (found["propagate"]["beta"], found["propagate"]["threshold"]) == (10.0, 0.25)
    assert found["train-classifier"]["validation"] == "val"
    assert not {"keep", "min_updates", "warmup_share"} & found["train-classifier"].keys()
    assert "train-unimatch" not in found
    assert "# As published for Pascal VOC with ResNet-50" in (tmp_path / "w" / "labelseg.toml").read_text()
    for table in ("train-classifier", "cam", "refine", "affinity-labels", "train-affinity", "propagate", "train-segmenter"):
        Config.load(tmp_path / "w", STAGES, {}).params(table)


def test_the_preset_of_affinitynet_needs_weights_of_its_backbone(data, tmp_path):
    refused = labelseg(tmp_path / "w", "init", "--from", data, "--preset", "psa", stages=STAGES)
    assert refused.exit_code == 1
    assert "backbone resnet38 has no ImageNet weights" in refused.stderr
    assert labelseg(tmp_path / "w", "init", "--from", data, "--preset", "psa", "--anyway", stages=STAGES).exit_code == 0
    found = tables(tmp_path / "w")
    assert found["train-classifier"]["backbone"] == found["train-affinity"]["backbone"] == "resnet38"
    assert (found["propagate"]["start"], found["propagate"]["alpha"]) == ("psa", 16.0)
    for table in ("train-classifier", "cam", "refine", "train-affinity", "propagate", "train-segmenter"):
        Config.load(tmp_path / "w", STAGES, {}).params(table)
    both = labelseg(tmp_path / "v", "init", "--from", data, "--preset", "psa", "--backbone", "resnet50", stages=STAGES)
    assert both.exit_code == 2
    assert "Leave out --backbone, or --preset" in both.stderr
