"""Steps of wilson on scenes: what is trained from what, what is kept, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from labelseg.cli import program
from labelseg.data.augment.transforms import normalize
from labelseg.errors import DataError, UsageError
from labelseg.methods.new_classes import step_training as incremental
from labelseg.methods.new_classes.step_samples import MaskedCrop
from labelseg.methods.new_classes.step_training import load_step, step_settings
from labelseg.ops.new_classes.wilson import present_scores
from labelseg.ops.new_classes.wilson_step import MaskKind, StepSettings
from labelseg.pipeline.run.options import RunOptions
from labelseg.results.scores import score
from labelseg.stages.new_classes import wilson, wilson_labels
from labelseg.training.loop import TrainResult
from labelseg.training.optimization import Optimization
from labelseg.workspace import Workspace
from tests.stages.conftest import caught_training
from tests.stages.wilson_chain import BASE, HERE, NEW, make_workspace

CLASSES = {"target": 1, "cross": 2, "star": 3, "flag": 4, "diamond": 5, "eyes": 6}


@pytest.fixture
def workspace(steps_root, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(steps_root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


@pytest.fixture(scope="module")
def finished(steps_root):
    """The workspace itself; nobody changes it."""
    return Workspace(steps_root)


def labelseg(root, *words):
    return CliRunner().invoke(program, ["-C", str(root), *map(str, words)], prog_name="labelseg")


def refused(workspace, error, match, instance="wilson@x", **params):
    """Assert that a step is refused and that the steps before stand as they were."""
    before = {ref.instance: ref.digest for ref in workspace.catalog.refs()}
    with pytest.raises(error, match=match):
        workspace.run(instance, options=HERE, **params)
    assert {ref.instance: ref.digest for ref in workspace.catalog.refs()} == before


# --- the chain --------------------------------------------------------------------------------------------------------


def test_one_command_runs_all_steps_and_a_second_nothing(finished):
    states = {row.instance: row.state for row in finished.status()}
    assert (states["wilson@0"], states["wilson@1"]) == ("fresh", "fresh")
    report = finished.run("wilson@1", options=RunOptions(dry_run=True))
    assert report.work == []


def test_a_step_adds_its_channels_to_those_before(finished):
    base, new = (finished.model(name).meta for name in ("wilson@0", "wilson@1"))
    assert base["class_ids"] == [0, 1, 2, 3]
    assert new["class_ids"] == [0, 1, 2, 3, 4, 5]
    assert new["increment"]["n_old"] == 4


def test_old_new_and_all_are_scored_after_a_step(finished):
    base, new = (finished.model(name).metrics["last"] for name in ("wilson@0", "wilson@1"))
    assert {"mIoU", "mIoU new", "IoU target"} <= base.keys() and "mIoU old" not in base
    assert {"mIoU", "mIoU old", "mIoU new"} <= new.keys()


def test_curves_hold_every_loss_and_both_gates(finished):
    first, last = finished.model("wilson@1").curves
    assert {"cls", "loc", "enc"} <= first.keys() and "seg" not in first
    assert {"cls", "loc", "enc", "sss", "seg", "sss_gate", "seg_gate"} <= last.keys()
    assert last["seg_gate"] == 1.0
    assert last["loss"] == pytest.approx(sum(last[name] for name in ("cls", "loc", "enc", "sss", "seg")), rel=1e-5)


def test_rates_stay_in_the_warm_up_and_then_fall(finished):
    first, last = finished.model("wilson@1").curves
    assert first["lr"] == 0.001
    steps, total = last["iteration"] // 2, last["iteration"]
    assert last["lr"] == pytest.approx(0.001 * (1 - (total - 1) / total) ** 0.9)
    assert first["iteration"] == steps
    assert finished.model("wilson@0").curves[0]["lr"] < 0.01


def test_the_localizer_is_new_at_every_step_and_stored_with_it(finished):
    tensors = finished.model("wilson@1").tensors
    assert tensors["localizer.layers.6.weight"].shape[0] == 6
    assert not any(name.startswith("localizer.") for name in finished.model("wilson@0").tensors)


def test_the_scenario_is_in_the_key_of_every_step(workspace):
    labelseg(workspace.root, "config", "wilson.scenario", "disjoint")
    states = {row.instance: (row.state, tuple(map(str, row.reasons))) for row in Workspace(workspace.root).status()}
    for step in ("wilson@0", "wilson@1"):
        assert states[step][0] == "stale"
        assert "parameter scenario: overlap -> disjoint" in states[step][1]


def test_a_parameter_of_later_steps_leaves_step_0_fresh(workspace):
    labelseg(workspace.root, "config", "wilson.alpha", "0.9")
    states = {row.instance: row.state for row in Workspace(workspace.root).status()}
    assert (states["wilson@0"], states["wilson@1"]) == ("fresh", "stale")


def test_the_same_classes_in_other_words_are_the_same_step(workspace):
    labelseg(workspace.root, "config", "wilson.task", f"{BASE};flag;diamond")
    assert {row.instance: row.state for row in Workspace(workspace.root).status()}["wilson@0"] == "fresh"


def test_the_command_takes_the_number_of_the_step(finished):
    result = labelseg(finished.root, "wilson", "--step", 1, "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "wilson@1 is fresh: nothing to do.\n")
    result = labelseg(finished.root, "wilson")
    assert result.exit_code == 2 and "wilson goes step by step" in result.output


def test_a_task_given_with_a_step_is_that_of_the_steps_before_too(tmp_path):
    root = make_workspace(tmp_path, train=2)
    result = labelseg(root, "wilson", "--step", 1, "--task", "target;star", "--alpha", "0.75", "--dry-run")
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["wilson@0", "wilson@1"]


RESUMED = """
import os, sys
from labelseg.pipeline.run.options import RunOptions
from labelseg.training import checkpoints
from labelseg.workspace import Workspace
save = checkpoints.Checkpoints.save
def save_and_die(self, progress, *rest):
    save(self, progress, *rest)
    if progress.iteration == int(sys.argv[2]):
        os._exit(9)
checkpoints.Checkpoints.save = save_and_die
Workspace(sys.argv[1]).run("wilson@again", options=RunOptions(workers=0, create=True), step=1, epochs=3, previous="wilson@0")
"""


def test_a_killed_step_goes_on_to_the_same_bytes(workspace):
    options = {"step": 1, "epochs": 3, "previous": "wilson@0"}
    whole = workspace.root.parent / "whole"
    shutil.copytree(workspace.root, whole)
    Workspace(whole).run("wilson@again", options=HERE, **options)
    killed = subprocess.run([sys.executable, "-c", RESUMED, str(workspace.root), "1"], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == 9
    again = Workspace(workspace.root)
    again.run("wilson@again", options=HERE)
    assert again.ref("wilson@again").digest == Workspace(whole).ref("wilson@again").digest
    assert again.model("wilson@again").curves == Workspace(whole).model("wilson@again").curves


# --- what parameters do -----------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(workspace, monkeypatch):
    """Run a step up to where its training would begin; gives what it was to be made of."""
    anew = replace(HERE, force=frozenset({"wilson@x"}))
    return lambda **params: caught_training(
        monkeypatch, incremental, "run_training", lambda: workspace.run("wilson@x", options=anew, **params)
    )


STEP_1 = {"step": 1, "previous": "wilson@0", "new": NEW.split(",")}


def test_parameters_of_the_losses_reach_them(prepared, monkeypatch):
    seen = []
    monkeypatch.setattr(incremental, "step_settings", lambda params: seen.append(step_settings(params)) or seen[-1])
    prepared(**STEP_1)
    prepared(**STEP_1, alpha=0.9, all_tags=True, background_mix=0.3, pamr=False, feature_weight=0.2, wilson_compat=True)
    assert seen[0] == StepSettings()
    published = (0.485, 0.456, 0.4069)
    assert seen[1] == StepSettings(alpha=0.9, all_tags=True, background_mix=0.3, refine=False, feature_weight=0.2, mean=published)


def test_parameters_of_the_schedule_reach_it(prepared):
    given = prepared(**STEP_1, lr=0.02, weight_decay=0.03, warmup=7, warmup_epochs=3, epochs=4, batch_size=2, evaluate_every=3)
    updates = 3 * (len(given.samples) // 2)
    assert given.optimization == Optimization(lr=0.02, momentum=0.9, warmup=7, hold=updates, nesterov=True)
    assert (given.net.warmup, given.evaluate_every) == (updates, 3)
    assert [(group.lr_scale, group.weight_decay) for group in given.groups] == [(1.0, 0.03), (10.0, 0.03)]
    parts = [{id(p) for p in group.parameters} for group in given.groups]
    assert parts == [
        {id(p) for p in given.net.segmenter.backbone.parameters()},
        {id(p) for part in (given.net.segmenter.head, given.net.localizer) for p in part.parameters()},
    ]
    assert (given.params.epochs, given.params.head_lr_scale) == (4, 10.0)
    assert prepared(**STEP_1, head_lr_scale=4.0, epochs=0, momentum=0.0).optimization.nesterov is False


def test_parameters_of_the_networks_reach_them(prepared):
    given = prepared(**STEP_1, freeze_batchnorm=True, freeze_blocks=2, localizer_width=24, jitter=0.2, crop=48)
    net = given.net
    norms = [module for module in net.segmenter.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(module.training for module in norms)
    assert net.localizer.layers[1].training
    frozen = [p for block in net.segmenter.backbone.blocks()[:2] for p in block.parameters()]
    assert frozen and not any(p.requires_grad for p in frozen)
    assert net.localizer.settings["width"] == 24
    make = given.samples.positives.make
    assert (make.crop, make.jitter, make.class_ids) == (48, 0.2, (0, 1, 2, 3, 4, 5))
    free = prepared(**STEP_1, freeze_batchnorm=False, freeze_blocks=0).net.segmenter.backbone
    assert all(p.requires_grad for p in free.parameters())


def test_new_channels_begin_at_random_by_the_seed_or_as_background(prepared):
    def classify(**params):
        return prepared(**STEP_1, **params).net.segmenter.head.classify.weight.detach()

    first, other, balanced = classify(seed=1), classify(seed=2), classify(new_head="balanced")
    assert torch.equal(first[:4], other[:4]) and not torch.equal(first[4:], other[4:])
    assert torch.equal(classify(seed=1, new_head="random"), first)
    assert torch.equal(balanced[4:], balanced[:1].expand(2, -1, -1, -1))


def test_the_activation_of_the_model_before_decides_how_it_is_read(prepared, workspace):
    assert not prepared(**STEP_1).net.old_softmax
    workspace.run("train-segmenter@gt", options=HERE, labels="masks")
    workspace.run("wilson@taken", options=HERE, adopt="train-segmenter@gt", new=BASE.split(","))
    assert prepared(**{**STEP_1, "previous": "wilson@taken"}).net.old_softmax


def test_void_is_background_in_step_0_only_as_published(prepared):
    voids = [prepared(step=0, new=BASE.split(","), wilson_compat=published).samples.make.channels[255] for published in (False, True)]
    assert voids == [255, 0]


def test_replayed_images_are_chosen_by_the_seed_and_come_with_masks(prepared, workspace):
    def chosen(**params):
        given = prepared(**STEP_1, replay="train", **params)
        kinds = [samples.make.mask_kind for samples in (given.samples.positives, given.samples.others[0])]
        assert kinds == [MaskKind.NONE, MaskKind.TRUE]
        return [item.id for item in given.samples.others[0].items]

    everything = chosen(replay_images=0)
    assert not any({4, 5} & set(workspace.dataset.tags(image_id)) for image_id in everything)
    kept = [chosen(replay_images=1, seed=seed) for seed in range(5)]
    assert {len(ids) for ids in kept} == {1}
    assert 1 < len({*map(tuple, kept)}) <= len(everything)


def test_images_of_unknown_tags_are_neither_new_nor_negative(prepared, workspace):
    labels = next(workspace.root.glob("*.csv"))
    lines, unknown = labels.read_text().splitlines(), {"train_0000", "train_0001"}
    labels.write_text("\n".join(line for line in lines if line.split(",")[0] not in unknown) + "\n")
    given = prepared(**STEP_1, negatives="train").samples
    assert given.others
    workspace.run("wilson@taken", options=HERE, adopt="wilson@0", scenario="separate", new=BASE.split(","))
    separate = prepared(**{**STEP_1, "previous": "wilson@taken", "scenario": "separate", "new": ("flag", "diamond", "eyes")}, negatives="")
    for samples in (given.positives, given.others[0], separate.samples.positives):
        assert not unknown & {item.id for item in samples.items}


def test_all_that_a_step_reads_is_in_its_key():
    used = wilson.STAGE.uses(wilson.Params(step=1))
    assert (used["split"], used["validation"]) == (("image", "tags"), ("image", "mask"))
    assert (used["negatives"], used["replay"]) == (("image", "tags"), ("image", "tags", "mask"))
    assert wilson_labels.STAGE.uses(wilson_labels.Params()) == ("image", "tags")


@pytest.mark.parametrize("params", [STEP_1, {"new": BASE.split(",")}], ids=["weak", "dense"])
@pytest.mark.parametrize(("keep", "value"), [("last", 1.0), ("best", 2.0)])
def test_the_epoch_asked_for_is_kept(workspace, monkeypatch, params, keep, value):
    def trained(inputs, params, module, *rest, **settings):
        last, best = ({name: torch.full_like(tensor, k) for name, tensor in module.state_dict().items()} for k in (1, 2))
        return TrainResult(last=last, best=best, best_epoch=1, curves=[{"epoch": 1, "mIoU": 0.5}, {"epoch": 2, "mIoU": 0.4}])

    monkeypatch.setattr(incremental, "run_training", trained)
    workspace.run("wilson@x", options=HERE, keep=keep, lr=0.5, **params)
    model = workspace.model("wilson@x")
    assert all((tensor == value).all() for tensor in model.tensors.values())
    assert (model.metrics["best_epoch"], model.metrics["last"]["mIoU"]) == (1, 0.4)


def test_steps_from_coco_to_voc_are_of_separate_data():
    assert {wilson.Params(task=name, step=step).scenario for name in ("coco-to-voc", "coco-voc") for step in (0, 1)} == {"separate"}
    assert wilson.Params(task="15-5").scenario == "overlap"


# --- masks and pseudo labels ------------------------------------------------------------------------------------------


def test_masks_hold_class_ids_that_the_model_knows(finished):
    for name, known in (("segment@base", [0, 1, 2, 3]), ("segment@new", [0, 1, 2, 3, 4, 5])):
        for image_id, item in finished[name, "val"].items():
            assert item["mask"].shape == finished.dataset.image(image_id).shape[:2]
            assert set(np.unique(item["mask"]).tolist()) <= set(known)
            assert item["known_ids"].tolist() == known


def test_classes_that_a_model_does_not_know_count_as_background(finished):
    found = score(finished, finished.ref("segment@base", "val"))
    assert found.unknown == ("flag", "diamond", "eyes")
    assert [found.iou[name] for name in found.unknown] == [None] * 3
    counts = np.zeros((4, 4))
    for image_id, item in finished["segment@base", "val"].items():
        truth = finished.dataset.mask(image_id)
        truth = np.where((truth > 3) & (truth < 255), 0, truth)
        for t, p in zip(truth[truth < 255], item["mask"][truth < 255], strict=True):
            counts[t, p] += 1
    iou = np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts))
    assert found.miou == pytest.approx(iou.mean())
    assert (found.old, found.new) == (None, pytest.approx(iou[1:].mean()))


def test_evaluate_shows_old_and_new_classes(finished):
    result = labelseg(finished.root, "evaluate", "segment@new", "--json")
    found = json.loads(result.stdout)[0]
    assert found["unknown"] == ["eyes"]
    there = [found["iou"][name] for name in ("target", "cross", "star") if found["iou"][name] is not None]
    assert found["old"] == pytest.approx(np.mean(there))
    assert labelseg(finished.root, "evaluate", "segment@new").stdout.splitlines()[0].split()[-2:] == ["OLD", "NEW"]


def test_pseudo_labels_tell_present_new_classes_apart_and_keep_old_ones(finished):
    for image_id, item in finished["wilson-labels", "train"].items():
        tags = finished.dataset.tags(image_id)
        target = item["target"]
        assert target.dtype == np.float16 and target.min() >= 0 and target.max() <= 1
        assert item["mask"].shape == tuple(item["size"])
        for channel, class_id in enumerate(item["class_ids"].tolist()):
            if class_id in (4, 5):
                assert bool(target[channel].any()) == (class_id in tags)
        assert target[1:4].any()


@pytest.mark.parametrize("all_tags", [False, True])
def test_pseudo_labels_are_those_that_training_would_use(workspace, all_tags):
    workspace.run("wilson@again", options=HERE, step=1, previous="wilson@0", all_tags=all_tags, alpha=0.7)
    workspace.run("wilson-labels@again", "train", options=HERE, model="wilson@again", previous="wilson@0")
    net, settings = load_step(workspace.model("wilson@again"), workspace.model("wilson@0"))
    assert (settings.all_tags, settings.alpha) == (all_tags, 0.7)
    both = 0
    for image_id, item in workspace["wilson-labels@again", "train"].items():
        tags = workspace.dataset.tags(image_id)
        both += bool({1, 2, 3} & set(tags)) and bool({4, 5} & set(tags))
        labels = torch.tensor([[float(k in tags and (all_tags or k > 3)) for k in range(1, 6)]])
        with torch.no_grad():
            outputs = net(torch.from_numpy(normalize(workspace.dataset.image(image_id)))[None])
        m = present_scores(outputs.localizer_eval.softmax(dim=1), labels)[0]
        q = 0.7 * (m == m.max(dim=0).values) + 0.3 * m
        old = outputs.old_logits[0].sigmoid()
        np.testing.assert_allclose(item["target"], torch.cat([torch.minimum(old[:1], q[:1]), old[1:], q[4:]]), atol=1e-3)
    assert both  # images in which tags of old classes would change the background


def test_pseudo_labels_of_step_0_are_refused(workspace):
    refused(workspace, UsageError, "has no localizer", "wilson-labels@x", split="train", model="wilson@0", previous="wilson@0")


# --- other ways to make a step ----------------------------------------------------------------------------------------


def test_a_trained_segmenter_is_taken_over_as_step_0(workspace):
    workspace.run("train-segmenter@gt", options=HERE, labels="masks")
    workspace.run("wilson@taken", options=HERE, adopt="train-segmenter@gt", new=("star", "target"))
    given, taken = workspace.model("train-segmenter@gt"), workspace.model("wilson@taken")
    assert (taken.meta["class_ids"], taken.meta["activation"]) == ([0, 3, 1], "softmax")
    rows = given.tensors["head.classify.weight"][[0, 3, 1]]
    assert np.array_equal(taken.tensors["head.classify.weight"], rows)
    workspace.run("wilson@after", options=HERE, step=1, previous="wilson@taken", new=("flag", "diamond"))
    assert workspace.model("wilson@after").meta["class_ids"] == [0, 3, 1, 4, 5]
    refused(workspace, UsageError, "does not know 'eyes'", "wilson@y", adopt="wilson@1", new=("eyes",))


def test_a_network_of_few_masks_is_taken_over_with_any_head_unless_it_has_more_parts(workspace):
    few = {"backbone": "tiny", "weights": "none", "iterations": 1, "batch_size": 2, "crop": 64, "width": 16, "allow_missing": True}
    workspace.run("train-unimatch", options=HERE, head="unimatch", **few)
    workspace.run("wilson@taken", options=HERE, adopt="train-unimatch", new=("star", "target"))
    given, taken = (workspace.model(name).tensors["head.classifier.weight"] for name in ("train-unimatch", "wilson@taken"))
    assert np.array_equal(taken, given[[0, 3, 1]])
    workspace.run("wilson@after", options=HERE, step=1, previous="wilson@taken", new=("flag", "diamond"), new_head="balanced", lr=1e-9)
    grown = workspace.model("wilson@after").tensors["head.classifier.weight"]
    np.testing.assert_allclose(grown, taken[[0, 1, 2, 0, 0]], atol=1e-4)
    workspace.run("train-pseudoseg", options=HERE, **few)
    refused(workspace, UsageError, "expected segmenter, got pseudoseg", "wilson@y", adopt="train-pseudoseg", new=("star",))


def test_masks_of_new_classes_fine_tune_the_segmenter(workspace, monkeypatch):
    used = []
    monkeypatch.setattr(incremental, "MaskedCrop", lambda *settings: used.append(settings) or MaskedCrop(*settings))
    workspace.run("wilson@tuned", options=HERE, step=1, labels="masks", previous="wilson@0")
    meta, curves = workspace.model("wilson@tuned").meta, workspace.model("wilson@tuned").curves
    assert meta["class_ids"] == [0, 1, 2, 3, 4, 5] and "helpers" not in meta
    assert "cls" not in curves[-1]
    assert used[0][2][[0, 1, 2, 3, 4, 5, 6, 255]].tolist() == [0, 0, 0, 0, 4, 5, 0, 255]  # old classes are background here


def test_joint_training_is_step_0_of_all_classes(workspace):
    workspace.run("wilson@joint", options=HERE, new=(*BASE.split(","), *NEW.split(",")))
    assert workspace.model("wilson@joint").meta["class_ids"] == [0, 1, 2, 3, 4, 5]


def test_one_class_is_learned_with_negatives(workspace):
    refused(workspace, UsageError, "--negatives SPLIT", "wilson@one", step=1, new=("flag",), previous="wilson@0")
    workspace.run("wilson@one", options=HERE, negatives="train")
    workspace.run("wilson@two", options=HERE, step=2, new=("diamond",), previous="wilson@one", negatives="train")
    assert workspace.model("wilson@two").meta["class_ids"] == [0, 1, 2, 3, 4, 5]


def test_stored_old_images_are_replayed_when_asked_for(workspace):
    workspace.run("wilson@stored", options=HERE, step=1, previous="wilson@0", replay="train", replay_images=2)
    assert workspace.ref("wilson@stored").digest != workspace.ref("wilson@1").digest
    assert workspace.model("wilson@stored").curves[-1]["iteration"] > 0


def test_masks_of_a_stage_teach_new_classes_in_place_of_the_localizer(prepared, workspace):
    workspace.run("segment@guide", "train", options=HERE, model="wilson@1")
    workspace.run("wilson@guided", options=HERE, step=1, previous="wilson@0", pseudo="segment@guide", replay="train", replay_images=1)
    model = workspace.model("wilson@guided")
    assert model.meta["class_ids"] == [0, 1, 2, 3, 4, 5] and model.curves[-1]["seg_gate"] == 1.0
    samples = prepared(**STEP_1, pseudo="segment@guide", negatives="train", replay="train").samples
    makes = [part.make for part in (samples.positives, *samples.others)]
    assert [make.mask_kind for make in makes] == [MaskKind.NEW_CLASSES, MaskKind.NONE, MaskKind.TRUE]
    item = samples.positives.items[0]
    assert np.array_equal(makes[0].read_mask(item), workspace["segment@guide", "train"][item.id]["mask"])
    refused(workspace, UsageError, "learned its new classes from masks", "wilson-labels@x", split="train", model="wilson@guided")


def test_the_published_crop_is_scored_beside_full_images(workspace):
    workspace.run("wilson@published", options=HERE, adopt="wilson@1", protocol="crop512")
    last = workspace.model("wilson@published").metrics["last"]
    assert {"mIoU", "mIoU new", "crop512 mIoU", "crop512 mIoU new"} <= last.keys()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"step": 2, "new": ("eyes", "flag"), "previous": "wilson@0"}, UsageError, "is step 2, but wilson@0 is step 0"),
        ({"step": 1, "new": NEW.split(","), "previous": "wilson@0", "scenario": "disjoint"}, UsageError, "with overlap; all steps"),
        ({"step": 1, "new": ("flag", "flag"), "previous": "wilson@0"}, UsageError, "'flag' is listed twice"),
        ({"step": 1, "new": ("flag", "star"), "previous": "wilson@0"}, UsageError, "'star' is already known after wilson@0"),
        ({"step": 1, "new": ("flag", "flug"), "previous": "wilson@0"}, UsageError, "no class 'flug'. Did you mean 'flag'"),
        (
            {"step": 1, "new": ("flag", "eyes"), "previous": "wilson@0", "split": "few"},
            DataError,
            r"of the new class '(flag|eyes)'",
        ),
        ({"step": 1, "new": NEW.split(","), "previous": "wilson@0", "adopt": "wilson@0"}, UsageError, "taken over as step 0"),
        ({"step": 0, "new": ("flag",), "previous": "wilson@0"}, UsageError, "step 0 follows no other"),
        ({"step": 5}, UsageError, "no step 5"),
    ],
)
def test_a_step_that_is_not_possible_is_refused_and_nothing_is_lost(workspace, params, error, match):
    without = [i for i in workspace.dataset.ids("train") if not {4, 6} <= set(workspace.dataset.tags(i))]
    lacking = next(k for k in (4, 6) if any(k not in workspace.dataset.tags(i) for i in without))
    chosen = [i for i in without if lacking not in workspace.dataset.tags(i)]
    (workspace.root / "splits" / "few.txt").write_text("\n".join(chosen) + "\n")
    refused(Workspace(workspace.root), error, match, **params)


def test_validation_images_without_a_labelled_pixel_are_told_before_a_step_begins(workspace):
    for path in (workspace.root / "masks").glob("val_*"):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 255)).save(path)
    again = Workspace(workspace.root)
    match = r"wilson@x: no labelled pixel in the 3 validation images"
    refused(again, DataError, match, step=1, previous="wilson@0")
    refused(again, DataError, match, "wilson@x", step=0, previous="", new=("cross",))


@pytest.mark.parametrize("params", [{"step": 1, "previous": "wilson@0"}, {"new": ("cross",)}], ids=["weak", "dense"])
def test_the_best_epoch_needs_images_to_choose_by(workspace, params):
    refused(workspace, UsageError, "wilson@x: --keep best needs images to choose by", keep="best", validation="", **params)


def test_a_segmenter_taken_over_needs_no_images_to_choose_by(workspace):
    workspace.run("wilson@x", options=HERE, adopt="wilson@1", keep="best", validation="")
    assert workspace.model("wilson@x").metrics["last"] == {}


def test_a_step_of_one_image_a_pass_is_refused_where_the_head_has_batch_statistics(workspace):
    few = {"backbone": "tiny", "weights": "none", "iterations": 1, "batch_size": 2, "crop": 64, "width": 16, "allow_missing": True}
    workspace.run("train-unimatch", options=HERE, head="unimatch", **few)
    workspace.run("wilson@taken", options=HERE, adopt="train-unimatch", new=("star", "target"))
    match = "wilson@x: head unimatch.*Give at least --batch-size 2"
    refused(workspace, UsageError, match, step=1, previous="wilson@taken", new=("flag", "diamond"), batch_size=1)
    refused(workspace, UsageError, match, step=1, previous="wilson@taken", new=("flag", "diamond"), batch_size=1, labels="masks")


def test_what_a_step_does_not_read_is_refused_for_it_and_left_to_others_in_the_table_of_all(workspace):
    refused(workspace, UsageError, "wilson@0 --replay: .* wilson@0 does not read replay 'train'", "wilson@0", replay="train")
    refused(workspace, UsageError, "wilson@0 does not read negatives", "wilson@0", negatives="train")
    refused(workspace, UsageError, "wilson@1 does not read init", "wilson@1", init="train-classifier")
    refused(workspace, UsageError, "wilson@x does not read replay", step=1, previous="wilson@0", labels="masks", replay="train")
    refused(workspace, UsageError, "wilson@x does not read init", adopt="wilson@0", init="train-classifier")
    labelseg(workspace.root, "config", "wilson.replay", "train")
    states = {row.instance: row.state for row in Workspace(workspace.root).status()}
    assert (states["wilson@0"], states["wilson@1"]) == ("fresh", "stale")


def test_a_step_without_classes_is_refused(workspace):
    labelseg(workspace.root, "config", "wilson.task", "--unset")
    refused(Workspace(workspace.root), UsageError, "no classes to learn", step=1, previous="wilson@0")


def test_data_without_background_is_refused(tmp_path):
    root = make_workspace(tmp_path, train=2)
    (root / "classes.txt").write_text("\n".join(["field", *CLASSES]) + "\n")
    refused(Workspace(root), UsageError, "has no background", "wilson@0")


def test_a_step_after_something_that_is_no_model_is_refused(workspace):
    refused(workspace, UsageError, "segment trains no model", step=1, previous="segment")


def test_a_step_after_another_network_is_refused(workspace):
    settings = {"backbone": "tiny", "weights": "none", "epochs": 1, "batch_size": 4, "crop": 64, "long_side": (64, 96)}
    workspace.run("train-classifier", options=RunOptions(workers=0), **settings)
    refused(workspace, UsageError, "to be a segmenter, got classifier", step=1, previous="train-classifier", new=("flag", "diamond"))


def test_a_step_that_ends_in_its_warm_up_is_refused(workspace):
    before = workspace.ref("wilson@1").digest
    with pytest.raises(UsageError, match=r"wilson@1: epochs 3, .*\(warmup-epochs 3\): no new class would be learned.*--epochs 6"):
        workspace.run("wilson@1", options=HERE, epochs=3, warmup_epochs=3)
    assert workspace.ref("wilson@1").digest == before


def test_pseudo_labels_of_a_step_are_scored_by_what_it_knows(workspace):
    workspace.run("wilson-labels", "train", options=replace(HERE, create=True))
    item = next(iter(workspace["wilson-labels", "train"].values()))
    meta = workspace.model("wilson@1").meta
    assert item["known_ids"].tolist() == meta["class_ids"]
    assert item["new_ids"].tolist() == [CLASSES[name] for name in NEW.split(",")]
    assert score(workspace, workspace.ref("wilson-labels", "train")).new is not None
