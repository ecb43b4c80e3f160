"""A parameter without effect under the others says so: by a table, by the keys, and by results that stay as they are."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labelseg.methods.few_masks.unimatch_step import VARIANTS
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.networks import to_model
from labelseg.models.segmenter import Segmenter
from labelseg.ops.crf import dense_crf
from labelseg.pipeline.declare.stage import is_effective, key_name
from labelseg.pipeline.engines.inputs import Item
from labelseg.pipeline.plan.keys import key_params
from labelseg.stages import STAGES
from tests.stages.contract import by_hand
from tests.stages.effects.settings import FILES, NEW, SETTINGS, STAGE, TRAINED, Recorded, changed, params_of, plain, title

ALL = [pytest.param(setting, id=title(setting)) for setting in [*SETTINGS, *FILES]]
MAPS = [
    pytest.param(setting, id=title(setting))
    for setting in SETTINGS
    if setting[0] in ("refine", "propagate", "segment", "cam", "sgc", "ask", "correct", "features")
]
TRAININGS = [pytest.param(setting, id=title(setting)) for setting in SETTINGS if setting[0] in TRAINED]
NETWORKS = {"cam": "classifier", "propagate": "affinity-net", "segment": "segmenter", "sgc": "pseudoseg", "features": "segmenter"}
SMALL = {"propagate": {"iters": 6, "radius": 3}, "segment": {"scales": (1.0,)}, "cam": {"scales": (1.0,)}}


def key(stage, params):
    return key_params(stage, params, lambda path: "digest")


def without_effect(stage, params):
    return {f.name for f in fields(stage.params) if not is_effective(f, params)}


def names_something(declared):
    """Whether a parameter names what is read: content stands for it in keys."""
    return bool({"source", "split", "folder"} & declared.metadata.keys())


@pytest.mark.parametrize("setting", ALL)
def test_the_parameters_without_effect_are_these(setting):
    assert without_effect(STAGE[setting[0]], params_of(setting)) == set(setting[2].split())


@pytest.mark.parametrize("setting", ALL)
def test_a_parameter_changes_the_key_exactly_where_it_has_an_effect(setting):
    stage, params = STAGE[setting[0]], params_of(setting)
    silent = {f.name for f in fields(stage.params) if names_something(f)} | set(setting[2].split())
    resting = {f.name for f in fields(stage.params) if f.metadata.get("neutral") and getattr(params, f.name) == f.default} - silent
    named = {f.name for f in fields(stage.params) if key_name(f) in key(stage, params)}
    moved = {f.name for f in fields(stage.params)} - silent
    assert named == moved - resting
    for name in setting[2].split():
        assert key(stage, params) == key(stage, changed(params, [name])), name
    for name in moved:
        assert key(stage, params) != key(stage, changed(params, [name])), name


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_says_when_it_has_an_effect_has_one_here_and_none_there(stage):
    silent = [set(names.split()) for name, _, names in [*SETTINGS, *FILES] if name == stage.name]
    conditional = {f.name for f in fields(stage.params) if f.metadata.get("effective")}
    assert set().union(*silent) == conditional
    assert set.intersection(*silent) & conditional <= {"task", "partial"}  # classes and answers are in the key by themselves


def test_dropped_channels_are_of_the_variants_that_decode_perturbed_features():
    for name, variant in VARIANTS.items():
        params = STAGE["train-unimatch"].params(variant=name)
        silent = without_effect(STAGE["train-unimatch"], params)
        assert ("dropout" in silent, "threshold" in silent) == (not variant.perturbs, variant.views == 0)


@pytest.fixture(scope="module")
def other_backend():
    """Let the other implementation of the CRF, an extra, be there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_crf, "_pydensecrf", lambda image, energy, inference: energy / energy.sum(axis=0))
        yield


@pytest.mark.parametrize("setting", MAPS)
def test_a_map_is_the_same_whatever_has_no_effect(setting, other_backend):
    name, chosen, silent = setting
    params = STAGE[name].params(**{**SMALL.get(name, {}), **chosen})
    inputs = by_hand.inputs(**dict.fromkeys(("model", "affinity"), NETWORKS.get(name)), classes="classifier")
    item = by_hand.HandItem(
        "one", by_hand.picture(), (2, 4), {"cam": by_hand.maps(), "features": by_hand.place_features(), **by_hand.masks()}, by_hand.ANSWERS
    )
    one, two = (STAGE[name].run(inputs, some)(item) for some in (params, changed(params, silent.split())))
    assert one.keys() == two.keys()
    for array in one:
        np.testing.assert_array_equal(one[array], two[array], err_msg=array)


class LabelledItem(Item):
    """An item whose label source has masks, and cells of a grid."""

    def read(self, role):
        assert role in ("labels", "pseudo", "answers")
        return {"mask": self.mask(), "labels": self.mask()[4::8, 4::8]}


class HandData:
    """Images of one split: one picture, shifted; masks of blocks of the tags."""

    def __init__(self, first, *tags):
        self._tags = {str(first + k): those for k, those in enumerate(tags)}
        self.items = [LabelledItem(name, self, None) for name in self._tags]

    def has(self, image_id, kind):
        return True

    def image(self, image_id):
        return np.roll(by_hand.picture(), 7 * int(image_id), axis=1)

    def tags(self, image_id):
        return self._tags[image_id]

    def mask(self, image_id):
        blocks = np.random.default_rng(int(image_id)).permutation(np.resize((*self._tags[image_id], 0), 24)).reshape(4, 6)
        return np.kron(blocks, np.ones((11, 10), np.uint8)).astype(np.uint8)


@cache
def known():
    """A segmenter that knows two of the classes and the background."""
    torch.manual_seed(5)
    net = Segmenter(build_backbone("tiny", 16), 3, "deeplabv3", 16)
    tensors, meta = to_model(net.eval(), {"classes": list(by_hand.CLASSES), "class_ids": [0, 1, 2], "activation": "softmax"})
    return SimpleNamespace(tensors=tensors, meta=meta)


def trained(stage, params):
    """Train on a few small images, where ``params`` names a split for them; the model that is read is always the same."""
    given = {
        "split": HandData(0, (1, 3), (1, 3), (2, 4), (2, 4)),
        "unlabelled": HandData(4, (1, 4), (2, 3), (1, 4), (2, 3)),
        "validation": HandData(8, (1, 3)),
        "negatives": HandData(12, (1,), (2,)),
        "replay": HandData(14, (2,), (1,)),
        "source": HandData(16, (1, 4), (2, 3)),
    }
    found = {name: data.items for name, data in given.items() if getattr(params, name, "")}
    inputs, model = by_hand.inputs(), by_hand.model("affinity-net") if stage.name == "train-affinity" else known()
    inputs.model = lambda role: model
    inputs.items = lambda name="split": found.get(name, [])
    inputs.workers, inputs.checkpoints = 0, None
    inputs.log, inputs.progress = (lambda values: None), (lambda total, title, done=0: nullcontext())
    return stage.run(inputs, params)


@cache
def finished(number):
    """What the training of a setting gave, and which parameters it read."""
    params = Recorded(params_of(SETTINGS[number]))
    return plain(trained(STAGE[SETTINGS[number][0]], params)), params.read


@pytest.mark.parametrize("setting", TRAININGS)
def test_a_training_is_the_same_whatever_has_no_effect(setting):
    stage, params = STAGE[setting[0]], params_of(setting)
    one, _ = finished(SETTINGS.index(setting))
    two = plain(trained(stage, changed(params, setting[2].split())))
    assert one.rest == two.rest
    assert one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor, two.tensors[name], err_msg=name)


@pytest.mark.parametrize("setting", TRAININGS)
def test_a_training_reads_what_has_an_effect(setting):
    stage = STAGE[setting[0]]
    _, read = finished(SETTINGS.index(setting))
    asked = {f.name for f in fields(stage.params) if not names_something(f)} - set(setting[2].split())
    assert asked <= read


@pytest.mark.parametrize(("chosen", "standing"), [
    ({"epochs": 40}, {}), ({"lr": 0.001}, {}), ({"head_lr_scale": 10.0}, {}), ({"background_mix": -0.5}, {}),
    ({"epochs": 30, "step": 0}, {"step": 0}), ({"lr": 0.01, "step": 0}, {"step": 0}), ({"head_lr_scale": 1.0, "step": 0}, {"step": 0}),
])  # fmt: skip
def test_a_value_and_what_stands_for_it_at_a_step_have_one_key(chosen, standing):
    stage = STAGE["wilson"]
    one, two = (stage.params(**{"new": NEW, "step": 1, **some}) for some in (chosen, standing))
    assert key(stage, one) == key(stage, two)


def test_the_shares_of_a_step_are_told_apart_from_those_that_stand_for_another_rule():
    stage = STAGE["wilson"]
    keys = [key(stage, stage.params(new=NEW, step=1, background_mix=share)) for share in (-1.0, 0.0, 0.5)]
    assert [found["background_mix"] for found in keys] == [-1.0, 0.0, 0.5]
