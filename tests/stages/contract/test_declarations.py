"""What a stage reads is what it declares: parameters with an effect, kinds of data, instances."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import fields
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from labelseg.answers.answer_files import answers_path, append_answers
from labelseg.data.scenes.drawing import write_scenes
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.pages.annotation.answer_sources import true_answers
from labelseg.pages.annotation.asked_items import read_questions
from labelseg.pipeline.declare.stage import is_effective
from labelseg.pipeline.run.options import RunOptions
from labelseg.stages import STAGES
from labelseg.workspace import Workspace
from tests.stages.contract.recording import Reading, recording_params, recording_stages
from tests.stages.scene_files import data_table

# Numbers of scenes: labelled ones with all classes, those of the last without new ones.
SPLITS = {"few": (1, 3, 8, 13), "many": (2, 5), "held": (7, 9), "negative": (0,), "stored": (10,)}
BASE, NEW = "target,cross,star", "flag,diamond"
TINY = """
backbone = "tiny"
weights = "none"
freeze_batchnorm = false
epochs = 1
batch_size = 4
crop = 32
"""
SETTINGS = f"""
[run]
target = "segment"
split = "few"

[train-classifier]
split = "few"
long_side = [40, 48]
{TINY}
[cam]
scales = [1.0]

[refine]
iters = 1

[train-affinity]
split = "few"
widths = [8, 8, 8]
{TINY}
[features]
backbone = "tiny"
weights = "none"

[import-features]
files = "given"
stride = 8

[import-scores]
files = "given"
names = "names.txt"

[import-network]
weights = "net.safetensors"
names = "outputs.txt"
backbone = "tiny"
output_stride = 16

[propagate]
iters = 2

[train-segmenter]
split = "few"
width = 16
{TINY}
[segment]
scales = [1.0]

[train-unimatch]
split = "few"
unlabelled = "many"
width = 16
allow_missing = true
{TINY}
[train-pseudoseg]
split = "few"
unlabelled = "many"
width = 16
key_width = 8
allow_missing = true
{TINY}
[wilson]
split = "few"
task = "{BASE};{NEW}"
width = 16
localizer_width = 16
{TINY}
warmup_epochs = 0

[train-uda]
split = "few"
source = "stored"
head = "deeplabv3plus"
width = 16
iterations = 0
{TINY}
[train-selector]
split = "few"
iterations = 0
epochs = 1
batch_size = 4
crop = 32

[labor-select]
cap = 5

[labor-select.2]

[labor-annotate]
partial = true
"""
ROUNDS = ("train-uda@0", "train-uda@1", "train-selector@1", "labor-select@1", "labor-select@2", "labor-annotate@1")
INSTANCES = (*(stage.name for stage in STAGES if not stage.numbered), "wilson@0", "wilson@1", *ROUNDS)

FOLLOWING = ("labor-select@2",)  # what it would be tried under changes the whole chain

# Values of parameters that decide on the effect of others, where they are no choice between words or between yes and no.
VALUES = {
    "step": (),  # an instance has one
    "round": (),
    "validation": ("held",),
    "init": (),
    "guard_masks": ("refine",),
    "adopt": (),
    "labels": ("masks",),
    "model": (),
    "previous": (),
    "weights": (),  # of other networks than the tiny one
    "hold": (0.3,),
    "start": ("foreground-only", "background", "psa"),  # irn is for another network: test_boundary_walk.py
    "backbone": (),
    "beside": (),
    "answers": ("masks",),
    "answer_weight": (),
    "source_weight": (),
    "adversarial": (0.0,),
    "like": (),
    "iterations": (0, 2),
    "tile": (256,),
}
# Further changes: of what is read, and of what needs two of them.
FOR_OTHER_NETWORKS = ("dpt",)  # not the tiny one: below, with one of theirs
PLAIN_VIT = {"head": "dpt", "backbone": "timm:test_vit", "weights": "none", "output_stride": 16}
FURTHER = {
    "train-affinity": [{"init": "train-classifier"}],
    "segment": [{"classes": "train-classifier"}, {"tags": "given"}],
    "train-segmenter": [{"labels": "masks"}, {"init": "train-classifier"}, PLAIN_VIT],
    "train-pseudoseg": [{"init": "train-segmenter"}, {"labels": "propagate"}],
    "train-unimatch": [{"init": "train-segmenter"}, {"hold": 0.3}, PLAIN_VIT],
    "features": [{"model": "train-classifier"}],
    "import-scores": [{"tags": "file"}],
    "ask": [{"of": "segment"}],
    "correct": [{"of": ""}, {"reach": 0.0}],
    "override": [{"of": "masks"}, {"of": ""}],
    "wilson@0": [{"adopt": "train-segmenter"}],
    "train-uda@0": [{"init": "train-segmenter"}, {"source_weight": 0.0, "adversarial": 0.0, "answers": "masks"}],
    "train-uda@1": [{"answer_weight": 0.0}],
    "labor-select@2": [{"strategy": "random", "like": "labor-select@1"}],
    "wilson@1": [{"negatives": "negative", "replay": "stored", "batch_size": 5}, {"labels": "masks"}],
}
# Parameters with an effect that a run need not read, by instance and the values that were changed.
UNREAD = {
    ("wilson-labels",): {"step"},  # it makes up the names of both instances
    ("cam", "given-or-predicted"): {"tag_threshold"},  # read where an image has no tags
}
# Kinds of data that are read although no result depends on them, and kinds that count although they are not read.
IDLE = {
    ("train-pseudoseg", "many"): {"tags"},  # in the batch; learned where they are given
    ("train-unimatch", "few"): {"tags"},  # in the batch; PseudoSeg alone learns them
}
UNTOUCHED = {
    ("train-unimatch", "variant"): {"many": {"image"}},  # supervised: their number is the length of an epoch
}


def stage_of(instance):
    return next(stage for stage in STAGES if stage.name == instance.partition("@")[0])


def switches(stage):
    """The parameters that decide whether another one has an effect."""
    found, asked = set(), [stage.params()]
    while asked:
        before = set(found)
        for params in asked:
            recording = recording_params(params, found)
            for declared in fields(stage.params):
                is_effective(declared, recording)
        asked = [stage.params(**{name: value}) for name in found - before for value in others(stage, name)]
    return sorted(found)


def others(stage, name):
    """Other values than the default of a parameter."""
    declared = next(declared for declared in fields(stage.params) if declared.name == name)
    if name in VALUES:
        return [value for value in VALUES[name] if value != declared.default]
    if isinstance(declared.default, str) and not declared.metadata.get("choices"):
        raise LookupError(f"{stage.name}: other parameters depend on {name}. Give values of it in VALUES.")
    choices = declared.metadata.get("choices") or [another(declared.default, declared)]
    return [choice for choice in choices if choice not in (declared.default, *FOR_OTHER_NETWORKS)]


def changes(instance):
    """The settings that a stage is tried under, as changes of those of the workspace."""
    stage = stage_of(instance)
    switched = () if instance in FOLLOWING else switches(stage)
    return [{}, *({name: value} for name in switched for value in others(stage, name)), *FURTHER.get(instance, [])]


def another(value, declared):
    """A valid value that differs."""
    choices = declared.metadata.get("choices") or ((True, False) if isinstance(value, bool) else ())
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, tuple):
        return tuple(one + type(one)(1) for one in value)
    if isinstance(value, str):
        return "imagenet"
    low, high = declared.metadata.get("minimum"), declared.metadata.get("maximum")
    step = declared.metadata.get("multiple") or 1
    return next(v for v in (value + type(value)(step), value / 2 + 0.125, low, high) if v != value and (high is None or v <= high))


CASES = [pytest.param(instance, change, id=f"{instance}-{change}") for instance in INSTANCES for change in changes(instance)]


def make_workspace(root):
    """Write scenes of some 45 pixels and settings; images of the split without labels have no mask."""
    table = write_scenes(root, train=14, val=0, seed=0)
    for split, numbers in SPLITS.items():
        (root / "splits" / f"{split}.txt").write_text("".join(f"train_{number:04}\n" for number in numbers))
    for folder, how in (("images", Image.Resampling.BILINEAR), ("masks", Image.Resampling.NEAREST)):
        for path in (root / folder).iterdir():
            picture = Image.open(path)
            picture.resize((picture.width // 3, picture.height // 3), how).save(path)
    for number in SPLITS["many"]:
        next((root / "masks").glob(f"train_{number:04}.*")).unlink()
    (root / "given").mkdir()
    classes = (root / "classes.txt").read_text().split()
    for path in (root / "images").iterdir():  # features 8 pixels apart, and scores
        width, height = Image.open(path).size
        values = np.random.default_rng(0).random((-(-height // 8), -(-width // 8), 4))
        np.savez(root / "given" / f"{path.stem}.npz", features=values, scores=np.ones((len(classes), 6, 8)))
    (root / "names.txt").write_text("\n".join(classes))
    (root / "outputs.txt").write_text("\n".join(classes[1:]))
    save_file(Classifier(build_backbone("tiny", 16), len(classes) - 1).state_dict(), root / "net.safetensors")
    (root / "labelseg.toml").write_text(data_table(table) + SETTINGS)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small workspace in which everything ran."""
    made = Workspace(make_workspace(tmp_path_factory.mktemp("declarations")))
    for instance in (
        "segment",
        "features",
        "import-features",
        "import-scores",
        "train-unimatch",
        "sgc",
        "wilson@1",
        "wilson-labels",
        "ask",
        "labor-select@1",
    ):
        made.run(instance, "few", options=RunOptions(workers=0, create=True))
    for asking in ("ask", "labor-select@1"):
        questions = read_questions(made, made.ref(asking, "few"))
        append_answers(answers_path(made.root, asking), true_answers(made.dataset, questions))
    for instance in ("correct", "override", "train-uda@1", "labor-select@2"):
        made.run(instance, "few", options=RunOptions(workers=0, create=True))
    return made.root


@pytest.fixture(scope="module")
def recorded(root):
    """Function that runs an instance under changed parameters: what it read, the parameters, and what came of it."""

    @cache
    def run(instance, *changed):
        reading = Reading()
        workspace = Workspace(root, stages=recording_stages(STAGES, reading, SPLITS))
        options = RunOptions(workers=0, tag=f"case-{next(count)}", force=frozenset({instance}))
        split = "few" if stage_of(instance).kind == "map" else ""
        workspace.run(instance, split or None, options=options, **dict(changed))
        # What a model says of itself may name a width that no layer has.
        tensors = getattr(reading.result, "tensors", {})
        outcome = {name: array.tobytes() for name, array in tensors.items()} or workspace.ref(instance, split, options.tag).digest
        return SimpleNamespace(reading=reading, params=reading.given, outcome=outcome)

    count = itertools.count()
    return lambda instance, change: run(instance, *change.items())


def values(stage):
    """The parameters that are neither sources nor splits: those are read through the inputs."""
    return [declared for declared in fields(stage.params) if not (declared.metadata.get("source") or declared.metadata.get("split"))]


@pytest.mark.parametrize(("instance", "change"), CASES)
def test_every_parameter_with_an_effect_is_read(recorded, instance, change):
    found = recorded(instance, change)
    effective = {declared.name for declared in values(stage_of(instance)) if is_effective(declared, found.params)}
    assert effective - found.reading.params == UNREAD.get((instance, *change.values()), set())


@pytest.mark.parametrize(("instance", "change"), CASES)
def test_a_parameter_without_effect_changes_nothing(recorded, instance, change):
    found = recorded(instance, change)
    stage = stage_of(instance)
    idle = {
        declared.name: another(getattr(found.params, declared.name), declared)
        for declared in values(stage)
        if not is_effective(declared, found.params) and declared.name != "task"
    }
    assert recorded(instance, {**change, **idle}).outcome == found.outcome


@pytest.mark.parametrize(("instance", "change"), CASES)
def test_the_instances_that_are_read_are_the_sources(recorded, instance, change):
    found = recorded(instance, change)
    assert found.reading.roles == {source.role for source in stage_of(instance).sources(found.params)}


@pytest.mark.parametrize(("instance", "change"), CASES)
def test_the_kinds_of_data_that_are_read_are_those_declared(recorded, instance, change):
    found, stage = recorded(instance, change), stage_of(instance)
    uses = {"split": stage.uses(found.params)} if stage.kind == "map" else stage.uses(found.params)
    splits = {"split": "few"} if stage.kind == "map" else stage.splits(found.params)
    declared = {split: set(uses[name]) for name, split in splits.items() if uses[name]}
    read = {split: kinds for split, kinds in found.reading.kinds.items() if kinds}
    untouched = UNTOUCHED.get((instance, *change), {})
    assert read.keys() | untouched.keys() == declared.keys() | untouched.keys()
    for split, kinds in read.items():
        assert kinds - IDLE.get((instance, split), set()) == declared[split] - IDLE.get((instance, split), set())


@pytest.mark.parametrize("instance", INSTANCES)
def test_every_parameter_has_an_effect_in_some_case(instance):
    stage = stage_of(instance)
    of_stage = [change for other in INSTANCES if stage_of(other) is stage for change in changes(other)]
    tried = [stage.params(**{**({"step": step} if "step" in switches(stage) else {}), **change}) for change in of_stage for step in (0, 1)]
    never = {declared.name for declared in fields(stage.params) if not any(is_effective(declared, params) for params in tried)}
    assert never <= {"task", "partial"}  # in the key through the classes that it names, and through the answers


def test_a_training_that_reads_a_model_trained_anew_is_another(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    workspace, keys = Workspace(tmp_path / "copy"), set()
    for seed in (0, 5):
        workspace.run("train-classifier", options=RunOptions(workers=0), seed=seed)
        workspace.run("train-segmenter", options=RunOptions(workers=0, retrain=True), init="train-classifier", labels="masks")
        keys.add(workspace.ref("train-segmenter").key)
    assert len(keys) == 2
