"""From the parameters of a stage to the task of the loop, and from its result to a model."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labelseg.errors import DataError
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.pipeline.declare.stage import is_effective
from labelseg.pipeline.plan.keys import key_params
from labelseg.stages import STAGES
from labelseg.training import fitting
from labelseg.training.fitting import fit, make_backbone
from labelseg.training.loop import TrainResult
from labelseg.training.optimization import Optimization
from labelseg.training.params import EvaluatedTrainingParams

PARAMS = {
    "backbone": "tiny",
    "weights": "none",
    "epochs": 3,
    "batch_size": 5,
    "optimizer": "adam",
    "lr": 0.25,
    "head_lr_scale": 7.0,
    "momentum": 0.75,
    "weight_decay": 0.125,
    "warmup": 9,
    "seed": 11,
    "precision": "bf16-mixed",
}
CURVES = [{"epoch": 1, "loss": 2.0, "score": 0.5}, {"epoch": 2, "loss": 1.0, "score": 0.25}]


@pytest.fixture
def fitted(monkeypatch):
    """Function that fits a classifier whose weights after the last epoch are 1, and of the best 2: the task, the model and the network."""

    def run(params, **settings):
        torch.manual_seed(0)
        net = Classifier(build_backbone("tiny", 16), 3)
        seen = []

        def train(task):
            seen.append(task)
            last, best = ({name: torch.full_like(value, k) for name, value in net.state_dict().items()} for k in (1, 2))
            return TrainResult(last=last, best=best, best_epoch=1, curves=CURVES)

        monkeypatch.setattr(fitting, "train", train)
        inputs = SimpleNamespace(
            device="cpu", ranks=2, workers=2, checkpoints=Path("kept"), classes=("a", "b", "c"), log="log", progress="bar", instance="one"
        )
        samples, loss = [0] * 10, object()
        model = fit(inputs, EvaluatedTrainingParams(**{**PARAMS, **params}), net, samples, loss, **settings)
        assert seen[0].dataset is samples
        assert seen[0].loss is loss
        return SimpleNamespace(task=seen[0], model=model, net=net)

    return run


def test_parameters_of_the_schedule_are_those_of_the_task(fitted):
    task = fitted({}).task
    assert task.optimization == Optimization(lr=0.25, kind="adam", momentum=0.75, warmup=9)
    assert (task.batch_size, task.epochs, task.iterations, task.seed, task.precision) == (5, 3, None, 11, "bf16-mixed")
    assert (task.device, task.ranks, task.workers, task.checkpoints, task.log, task.progress) == ("cpu", 2, 2, Path("kept"), "log", "bar")


def test_groups_have_the_rates_and_the_weight_decay_of_the_parameters(fitted):
    task = fitted({}).task
    assert [(group.lr_scale, group.weight_decay) for group in task.groups] == [(1.0, 0.125), (2.0, 0.0), (7.0, 0.125), (14.0, 0.0)]
    own = [SimpleNamespace(parameters=[])]
    assert fitted({}, groups=own).task.groups is own


def test_updates_stand_in_place_of_epochs(fitted):
    task = fitted({}, iterations=17).task
    assert (task.epochs, task.iterations) == (None, 17)


def test_without_an_evaluation_nothing_is_selected_and_nothing_ends_early(fitted):
    task = fitted({}, select="mIoU", patience=4, evaluate_every=6).task
    assert (task.evaluate, task.select, task.patience) == (None, "", 0)
    task = fitted({}, evaluate=lambda module: {"mIoU": module}, select="mIoU", patience=4, evaluate_every=6).task
    assert (task.evaluate("net", 5), task.select, task.patience, task.evaluate_every) == ({"mIoU": "net"}, "mIoU", 4, 6)


@pytest.mark.parametrize(("keep", "value"), [("last", 1), ("best", 2)])
def test_the_epoch_asked_for_is_kept_and_both_are_told(fitted, keep, value):
    found = fitted({}, keep=keep, meta={"more": 1})
    assert {float(np.mean(array)) for array in found.model.tensors.values()} == {value}
    assert found.model.metrics == {"last": CURVES[1], "best": CURVES[0], "best_epoch": 1}
    assert found.model.curves == CURVES
    assert (found.model.meta["classes"], found.model.meta["more"]) == (["a", "b", "c"], 1)


def test_a_teacher_is_kept_in_place_of_its_network(fitted):
    teacher = Classifier(build_backbone("tiny", 16), 3)
    found = fitted({}, teacher=teacher)
    assert found.task.teacher is teacher
    assert float(teacher.classify.weight.detach().mean()) == 1
    assert float(found.net.classify.weight.detach().mean()) != 1


def test_a_backbone_is_seeded_and_frozen_as_asked_for():
    def made(**params):
        return make_backbone(None, EvaluatedTrainingParams(**{**PARAMS, "freeze_batchnorm": False, **params}))

    def weight(backbone):
        return next(backbone.parameters()).detach()

    def trained(backbone):
        return sum(parameter.requires_grad for parameter in backbone.parameters())

    assert torch.equal(weight(made()), weight(made()))
    assert not torch.equal(weight(made()), weight(made(seed=12)))
    assert trained(made(freeze_blocks=2)) < trained(made(freeze_blocks=1)) < trained(made())
    assert trained(made(freeze_batchnorm=True)) < trained(made())
    assert made(output_stride=8).output_stride == 8


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"epochs": 6, "min_updates": 13}, (7, 14, 1)),
        ({"epochs": 6, "min_updates": 12}, (6, 12, 1)),
        ({"epochs": 6, "min_updates": 25}, (13, 26, 2)),
        ({"epochs": 6, "batch_size": 40, "min_updates": 19}, (19, 19, 3)),
        ({"epochs": 6}, (6, 12, 1)),
        ({"epochs": 3, "min_updates": 50}, (3, 6, 1)),  # which are not the usual ones: they were asked for
    ],
)
def test_a_small_set_is_passed_until_the_fewest_updates_are_done(params, expected):
    length = fitting.schedule(EvaluatedTrainingParams(**{**PARAMS, **params}), 10)
    assert (length.epochs, length.updates, length.stretch) == expected


@pytest.mark.parametrize(("share", "warmup", "expected"), [(0.5, 9, 3), (0.5, 0, 3), (1.0, 2, 2), (0.0, 9, 9), (0.0, 0, 0)])
def test_the_warm_up_takes_at_most_its_share(fitted, share, warmup, expected):
    assert fitted({"warmup_share": share, "warmup": warmup}).task.optimization.warmup == expected


def test_evaluations_keep_their_number_when_a_training_is_longer(fitted):
    given = {"evaluate": lambda module: {"mIoU": 0.5}, "select": "mIoU", "evaluate_every": 2}
    task = fitted({"epochs": 6, "min_updates": 120}, **given).task
    assert (task.epochs, task.evaluate_every) == (60, 20)
    assert fitted({}, **given).task.evaluate_every == 2


def test_gradients_are_clipped_as_asked_for(fitted):
    assert fitted({"clip_norm": 2.5}).task.optimization.clip_norm == 2.5
    assert fitted({}).task.optimization.clip_norm is None


def test_what_asks_for_nothing_stays_out_of_keys():
    trainings = [stage for stage in STAGES if stage.name.startswith("train-")]
    assert len(trainings) >= 5
    for stage in trainings:
        given = {"warmup_share": 0.1, "min_updates": 5, "clip_norm": 1.0}
        usual, some = (key_params(stage, params, str) for params in (stage.params(), stage.params(**given)))
        silent = {f.name for f in fields(stage.params) if f.name in given and not is_effective(f, stage.params(**given))}
        assert {name: some[name] for name in some if name not in usual} == {k: v for k, v in given.items() if k not in silent}
        assert {name: some[name] for name in usual} == usual


def test_weights_that_cannot_be_had_name_the_training_and_its_setting(tmp_path):
    params = SimpleNamespace(seed=0, backbone="tiny", output_stride=16, dilate=True, init="", weights=str(tmp_path / "none.pth"))
    told = (
        r"^train-affinity@two: weights .*none\.pth: no such file.*labelseg config train-affinity\.two\.weights FILE, "
        r"or none in place of FILE to begin from random ones\.$"
    )
    with pytest.raises(DataError, match=told):
        make_backbone(SimpleNamespace(instance="train-affinity@two"), params)
