"""Trainings by several processes: the same as by one."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.errors import LabelsegError, UsageError
from labelseg.training.loop import TrainTask, train
from labelseg.training.optimization import Optimization, ParameterGroup
from labelseg.training.ranks import split_devices


class Points:
    """Points of the plane and on which side of a line they lie."""

    def __len__(self):
        return 12

    def sample(self, index, rng):
        point = np.random.default_rng(index).normal(size=2).astype(np.float32)
        return point + rng.normal(size=2).astype(np.float32) * np.float32(0.1), np.float32(point.sum() > 0)


class Net(nn.Module):
    """A layer that learns, one that no loss reaches, and dropout on request."""

    def __init__(self, dropout=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        self.idle = nn.Linear(2, 2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, x):
        return self.layers(x)[:, 0]


def logistic(net, batch):
    scores = net(batch[0])
    loss = nn.functional.binary_cross_entropy_with_logits(scores, batch[1])
    return {"loss": loss, "right": ((scores > 0) == (batch[1] > 0)).float().mean()}


def task(device, **changes):
    net = changes.pop("module", None) or Net()
    settings = {
        "module": net,
        "loss": logistic,
        "dataset": Points(),
        "groups": [ParameterGroup(parameters=list(net.parameters()), weight_decay=1e-2)],
        "optimization": Optimization(lr=0.1),
        "batch_size": 5,
        "epochs": 3,
        "device": device,
    }
    return TrainTask(**{**settings, **changes})


@pytest.mark.parametrize(("devices", "accumulate"), [("cpu,cpu", 1), ("cpu,cpu", 2), ("cpu,cpu,cpu", 1)])
def test_several_processes_train_what_one_trains(devices, accumulate):
    alone, shared = train(task("cpu")), train(task(devices, accumulate=accumulate))
    for name, tensor in alone.last.items():
        torch.testing.assert_close(shared.last[name], tensor, atol=1e-6, rtol=1e-5)
    for one, other in zip(alone.curves, shared.curves, strict=True):
        assert other == pytest.approx(one, abs=1e-6)


def test_a_layer_that_no_loss_reaches_is_left_alone():
    before = Net().idle.weight
    torch.testing.assert_close(train(task("cpu,cpu")).last["idle.weight"], before, atol=0, rtol=0)


def test_only_the_first_process_evaluates_and_logs():
    parent, evaluated, logged = os.getpid(), [], []

    def here():
        if os.getpid() != parent:
            raise AssertionError("another process does it too")  # ends the training of all

    def evaluate(net, epoch):
        here()
        evaluated.append(epoch)
        return {"score": -abs(epoch - 2)}

    def log(record):
        here()
        logged.append(record)

    result = train(task("cpu,cpu", evaluate=evaluate, select="score", log=log))
    assert evaluated == [1, 2, 3]
    assert [record["epoch"] for record in logged] == [1, 2, 3]
    assert result.best_epoch == 2


def test_all_processes_end_early_together():
    result = train(task("cpu,cpu", epochs=9, evaluate=lambda net, epoch: {"score": -epoch}, select="score", patience=2))
    assert len(result.curves) == 3


def test_a_training_that_crashed_goes_on_to_equal_weights(tmp_path):
    whole = train(task("cpu,cpu", module=Net(dropout=0.5)))
    parent, calls = os.getpid(), []

    def crash(net, batch):
        calls.append(1)
        if os.getpid() == parent and len(calls) == 4:
            raise KeyboardInterrupt
        return logistic(net, batch)

    with pytest.raises(KeyboardInterrupt):
        train(task("cpu,cpu", module=Net(dropout=0.5), loss=crash, checkpoints=tmp_path / "run", checkpoint_seconds=0))
    resumed = train(task("cpu,cpu", module=Net(dropout=0.5), checkpoints=tmp_path / "run"))
    assert all(torch.equal(resumed.last[name], tensor) for name, tensor in whole.last.items())


def test_the_failure_of_another_process_is_told():
    parent = os.getpid()

    def fail(net, batch):
        if os.getpid() != parent:
            raise ValueError("disk is gone")
        return logistic(net, batch)

    with pytest.raises(LabelsegError, match="training, process 2 of 2: ValueError: disk is gone"):
        train(task("cpu,cpu", loss=fail))


def test_a_loss_that_is_not_finite_anywhere_is_told_everywhere():
    parent = os.getpid()

    def spoiled(net, batch):
        losses = logistic(net, batch)
        return losses if os.getpid() == parent else {**losses, "loss": losses["loss"] * float("nan")}

    with pytest.raises(LabelsegError, match="the loss is nan at iteration 1 of 6"):
        train(task("cpu,cpu", loss=spoiled))


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(UsageError, match="2 samples at a time cannot be shared out to 3 devices"):
        train(task("cpu,cpu,cpu", accumulate=2))


def test_devices_are_read():
    assert split_devices("cuda:0,1") == ("cuda:0", "cuda:1")
    assert split_devices("cuda:2, cuda:0") == ("cuda:2", "cuda:0")
    assert split_devices("cpu") == ("cpu",)
    for wrong in ("cuda:0,cpu", "cuda:1,1", "", ","):
        with pytest.raises(UsageError, match="expected one device"):
            split_devices(wrong)
