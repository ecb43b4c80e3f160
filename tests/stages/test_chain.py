"""The whole chain on a few scenes: what reruns, what is kept, what is written."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labelseg import cli
from labelseg.cli import program
from labelseg.errors import DataError, ItemsFailedError, UsageError
from labelseg.ops.cam import resize_maps
from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.store.artifacts import Artifact
from labelseg.stages.tags import propagate, refine
from tests.stages.conftest import HERE
from tests.training.launcher import launch

MAPS = ("cam", "refine", "affinity-labels", "propagate", "segment")
MODELS = ("train-classifier", "train-affinity", "train-segmenter")


def computed(report):
    """Instance -> number of items computed, of what was not left alone."""
    return {result.instance: result.computed for result in report.results if result.computed}


def test_a_second_run_does_nothing(workspace):
    assert computed(workspace.run(options=HERE)) == {}


def test_all_are_fresh_after_a_run(workspace):
    assert {row.instance: row.state for row in workspace.status()} == dict.fromkeys((*MAPS, *MODELS), "fresh")


def test_masks_have_the_size_of_their_image_and_hold_its_classes_only(workspace):
    for image_id, item in workspace["propagate", "train"].items():
        assert item["mask"].shape == workspace.dataset.image(image_id).shape[:2]
        assert set(np.unique(item["mask"])) <= {0, *workspace.dataset.tags(image_id)}


def test_scores_lie_between_zero_and_one(workspace):
    for item in workspace["cam", "train"].values():
        assert item["scores"].min() >= 0
        assert 0.99 <= item["scores"].max() <= 1


def test_another_beta_computes_propagate_alone_and_the_old_one_nothing(workspace):
    assert computed(workspace.run("propagate", "train", options=HERE, beta=16.0)) == {"propagate": 8}
    assert computed(workspace.run("propagate", "train", options=HERE, beta=8.0)) == {}


def test_another_beta_makes_the_segmenter_stale(workspace):
    workspace.run("propagate", "train", options=HERE, beta=2.0)
    states = {row.instance: row.state for row in workspace.status()}
    assert states["train-segmenter"] == "stale"
    assert states["train-affinity"] == "fresh"


def test_a_new_image_costs_one_item_in_every_map_and_no_training(workspace):
    root = workspace.root
    first, name = sorted((root / "images").glob("train_*"))[0], "extra"
    (root / "images" / f"{name}{first.suffix}").write_bytes(_turned(first))
    with (root / "splits" / "train.txt").open("a") as split:
        split.write(f"{name}\n")
    with next(root.glob("*.csv")).open("a") as labels:
        labels.write(f"{name},{workspace.dataset.classes[1]}\n")
    again = type(workspace)(root)
    report = again.run("propagate", "train", options=HERE)
    assert computed(report) == {"cam": 1, "refine": 1, "affinity-labels": 1, "propagate": 1}
    states = {row.instance: row.state for row in again.status()}
    assert [states[model] for model in MODELS] == ["outdated"] * 3


def test_neither_workers_nor_a_second_run_change_a_byte(workspace):
    before = workspace.ref("refine", "train").digest
    options = replace(HERE, workers=2, force=frozenset({"refine"}))
    assert computed(workspace.run("refine", "train", options=options)) == {"refine": 8}
    assert workspace.ref("refine", "train").digest == before


def test_the_same_seed_trains_the_same_bytes(workspace):
    before = workspace.ref("train-affinity").digest
    workspace.run("train-affinity", options=replace(HERE, force=frozenset({"train-affinity"})))
    assert workspace.ref("train-affinity").digest == before


def test_a_corrupt_image_is_reported_and_the_others_are_kept(workspace):
    broken = sorted((workspace.root / "images").glob("val_*"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ItemsFailedError, match=broken.stem):
        type(workspace)(workspace.root).run("segment", "val", options=HERE)
    assert len(workspace["segment", "val"]) == 2


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        ("train-classifier", "Add --validation SPLIT with tags"),
        ("train-segmenter", "Add --validation SPLIT with masks"),
    ],
)
def test_the_best_epoch_needs_images_to_choose_by(workspace, stage, remedy):
    before = workspace.ref(stage).digest
    with pytest.raises(UsageError, match=f"{stage}: --keep best needs images to choose by.*{remedy}"):
        workspace.run(stage, options=HERE, keep="best", validation="")
    assert workspace.ref(stage).digest == before


def test_validation_images_that_score_nothing_are_told_before_a_training(workspace):
    for path in (workspace.root / "masks").glob("val_*"):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 255)).save(path)
    labels = next(workspace.root.glob("*.csv"))
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join(f"{line.split(',')[0]}," if line.startswith("val_") else line for line in lines) + "\n")
    again = type(workspace)(workspace.root)
    with pytest.raises(DataError, match="train-segmenter: no labelled pixel in the 3 validation images"):
        again.run("train-segmenter", options=HERE, validation="val", seed=1)
    with pytest.raises(DataError, match="train-classifier: no class in the tags of the 3 validation images"):
        again.run("train-classifier", options=HERE, validation="val", seed=1)


def test_maps_at_a_stored_quarter_stand_for_the_full_ones(workspace):
    workspace.run("cam", "train", options=RunOptions(workers=0, tag="full"), store="full")
    ref = workspace.ref("cam", "train", "full")
    full = Artifact(workspace.store, workspace.catalog.load("cam", ref.key))["train_0000"]["scores"]
    quarter = workspace["cam", "train"]["train_0000"]["scores"]
    size = workspace.dataset.image("train_0000").shape[:2]
    assert full.shape[1:] == size
    assert quarter.shape[1:] == tuple(-(-side // 4) for side in size)
    assert np.corrcoef(resize_maps(quarter, size).ravel(), full.astype(np.float32).ravel())[0, 1] > 0.97


def test_untagged_images_alone_get_predicted_classes(workspace):
    labels = next(workspace.root.glob("*.csv"))
    labels.write_text("\n".join(line for line in labels.read_text().splitlines() if not line.startswith("val_0001")) + "\n")
    again = type(workspace)(workspace.root)
    with pytest.raises(ItemsFailedError, match=r"cam for val_0001: expected tags.*labelseg cam --tags given-or-predicted"):
        again.run("cam", "val", options=HERE)
    again.run("cam", "val", options=replace(HERE, tag="all"), tags="predicted", tag_threshold=0.3)
    predicted = Artifact(again.store, again.catalog.load("cam", again.ref("cam", "val", "all").key))
    again.run("cam", "val", options=HERE, tags="given-or-predicted", tag_threshold=0.3)
    for image_id, item in again["cam", "val"].items():
        expected = predicted[image_id]["class_ids"] if image_id == "val_0001" else again.dataset.tags(image_id)
        np.testing.assert_array_equal(item["class_ids"], expected)


def test_segmented_images_hold_their_tags_alone_and_loose_images_what_the_segmenter_says(workspace, tmp_path):
    loose = [str(path) for path in sorted((workspace.root / "images").glob("val_*"))]
    call = CliRunner().invoke
    for folder, tags in (("ignored", "ignored"), ("given", "given")):
        assert call(program, ["-C", str(workspace.root), "config", "segment.tags", tags]).exit_code == 0
        assert call(program, ["-C", str(workspace.root), "predict", *loose, "-o", str(tmp_path / folder)]).exit_code == 0
    one, two = ([path.read_bytes() for path in sorted((tmp_path / name / "masks").glob("*.png"))] for name in ("ignored", "given"))
    assert len(one) == len(loose) > 0
    assert one == two
    workspace.run("segment", "val", options=HERE, tags="given")
    for image_id, item in workspace["segment", "val"].items():
        assert set(np.unique(item["mask"])) <= {0, *workspace.dataset.tags(image_id)}


def test_scores_of_every_walk_have_the_form_of_cam(workspace):
    cam = workspace["cam", "train"]["train_0000"]["class_ids"]
    scores = {}
    for start in ("psa", "background", "foreground-only"):
        workspace.run("propagate", "train", options=HERE, start=start)
        item = workspace["propagate", "train"]["train_0000"]
        np.testing.assert_array_equal(item["class_ids"], cam)
        assert len(item["scores"]) == len(cam)
        assert set(np.unique(item["mask"])) <= {0, *cam}
        scores[start] = item["scores"].astype(float).ravel()
    assert np.corrcoef(scores["psa"], scores["foreground-only"])[0, 1] > 0.5  # those of the classes, not of the background
    np.testing.assert_array_equal(scores["background"], scores["foreground-only"])


def test_a_walk_over_colours_reads_no_affinity_network():
    for kind, read in {"learned": {"cam", "affinity"}, "colour": {"cam"}, "constant": {"cam"}}.items():
        assert {source.role for source in propagate.STAGE.sources(propagate.Params(affinity_kind=kind))} == read


@pytest.mark.parametrize("stage", [refine, propagate], ids=["refine", "propagate"])
def test_data_without_background_is_refused_where_classes_are_weighed_against_it(stage):
    inputs = Inputs(SimpleNamespace(has_background=False, classes=("cat", "dog")), None, instance=stage.STAGE.name)
    with pytest.raises(UsageError, match=rf"{stage.STAGE.name}: the data has no background.*first class is 'cat'"):
        stage.run(inputs, stage.Params())


def test_a_training_is_shared_out_to_two_processes_of_this_machine(workspace):
    report = workspace.run("train-segmenter", options=replace(HERE, device="cpu,cpu", force=frozenset({"train-segmenter"})))
    assert computed(report).keys() == {"train-segmenter"}
    assert np.isfinite(workspace.model("train-segmenter").curves[-1]["loss"])
    assert "RANK" not in os.environ  # what was set for these processes is gone


def test_two_trainings_of_one_run_are_shared_out_to_the_processes_of_a_launcher(workspace, capfd):
    both = ("train-classifier", "train-segmenter")
    words = ["-C", str(workspace.root), "run", "--until", both[1], "--device", "cpu", "--workers", "0", "--no-wait"]
    runs = workspace.folder / "runs"
    before = set(runs.iterdir())

    def work(rank):
        sys.argv = ["labelseg", *words, *(word for stage in both for word in ("--force", stage))]
        cli.main()

    assert launch(2, work) == [0, 0]
    (log,) = set(runs.iterdir()) - before
    events = [json.loads(line) for line in (log / "log.jsonl").read_text().splitlines()]
    assert [event["instance"] for event in events if event["event"] == "done" and event["action"] == "trained"] == list(both)
    epochs = [event["instance"] for event in events if event["event"] == "epoch"]
    assert epochs == list(both)  # one epoch each, told once
    assert not list(workspace.folder.glob("checkpoints/*/*"))
    assert capfd.readouterr().err.count("[1/") == 1


def _turned(path):
    """Bytes of the picture upside down."""
    target = path.with_name("turned.png")
    Image.open(path).transpose(Image.Transpose.ROTATE_180).save(target)
    data = target.read_bytes()
    target.unlink()
    return data
