"""Trainings by several processes: the same as by one; and what ranks tell each other besides."""

from __future__ import annotations

import os
import re
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.errors import DataError, LabelsegError, UsageError
from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.engines.interruption import TERMINATED, Terminated
from labelseg.pipeline.engines.launched import launched
from labelseg.training import ranks
from labelseg.training.loop import TrainTask, train
from labelseg.training.optimization import Optimization, ParameterGroup
from labelseg.training.ranks import make_fabric
from tests.training.launcher import launch


class Points:
    """Points of the plane and on which side of a line they lie."""

    def __len__(self):
        return 12

    def sample(self, index, rng):
        point = np.random.default_rng(index).normal(size=2).astype(np.float32)
        return point + rng.normal(size=2).astype(np.float32) * np.float32(0.1), np.float32(point.sum() > 0)


class Net(nn.Module):
    """A layer that learns, one that no loss reaches, one that losses use by itself; dropout and statistics of batches on request."""

    def __init__(self, dropout=0.0, statistics=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        norm = nn.BatchNorm1d(8) if statistics else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(2, 8), norm, nn.Dropout(dropout), nn.Linear(8, 1))
        self.idle, self.apart = nn.Linear(2, 2), nn.Linear(2, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, x):
        return self.layers(x)[:, 0]


def logistic(net, batch):
    scores = net(batch[0])
    loss = nn.functional.binary_cross_entropy_with_logits(scores, batch[1])
    return {"loss": loss, "right": ((scores > 0) == (batch[1] > 0)).float().mean()}


def task(count=1, **changes):
    net = changes.pop("module", None) or Net()
    settings = {
        "module": net,
        "loss": logistic,
        "dataset": Points(),
        "groups": [ParameterGroup(parameters=list(net.parameters()), weight_decay=1e-2)],
        "optimization": Optimization(lr=0.1),
        "batch_size": 5,
        "epochs": 3,
        "ranks": count,
    }
    return TrainTask(**{**settings, **changes})


def several_passes(net):
    """A loss of two passes through the network, one in evaluation mode, a layer used by itself, and one that only odd points reach."""

    def loss(module, batch):
        module.eval()
        with torch.no_grad():
            sure = module(batch[0]).sigmoid()
        module.train()
        found = logistic(module, batch)
        found["loss"] = found["loss"] + (module(batch[0] + 0.1).sigmoid() - sure).square().mean() + net.apart(batch[0]).square().mean()
        return {**found, "sure": (module(batch[0]) * 2).mean()}

    return loss


@pytest.mark.parametrize(("count", "accumulate"), [(2, 1), (2, 2), (3, 1)])
def test_several_processes_train_what_one_trains(count, accumulate):
    net = Net()
    alone = train(task(module=net, loss=several_passes(net)))
    net = Net()
    found = launch(count, lambda rank: train(task(count, module=net, loss=several_passes(net), accumulate=accumulate)))
    for shared in found:
        for name, tensor in alone.last.items():
            torch.testing.assert_close(shared.last[name], tensor, atol=1e-6, rtol=1e-5)
        for one, other in zip(alone.curves, shared.curves, strict=True):
            assert other == pytest.approx(one, abs=1e-6)
    torch.testing.assert_close(alone.last["idle.weight"], Net().idle.weight, atol=0, rtol=0)


def test_each_process_draws_its_own_dropout_and_the_first_that_of_one_process():
    def drawn(count):
        draws = []

        def loss(net, batch):
            draws.append(float(torch.rand(())))
            return logistic(net, batch)

        train(task(count, loss=loss, epochs=1))
        return draws

    first, second = launch(2, lambda rank: drawn(2))
    assert first == drawn(1)
    assert not {*first} & {*second}


def test_only_the_first_process_evaluates_logs_and_writes(tmp_path):
    def work(rank):
        said = []
        result = train(
            task(
                2,
                epochs=9,
                evaluate=lambda net, epoch: said.append(epoch) or {"score": -abs(epoch - 2)},
                select="score",
                patience=2,
                log=lambda record: said.append(record["event"]),
                progress=lambda total, title, done: said.append(title) or Shown(),
                checkpoints=tmp_path / str(rank),
            )
        )
        return said, result.best_epoch, len(result.curves)

    first, second = launch(2, work)
    assert first == (["training", *(said for epoch in (1, 2, 3, 4) for said in (epoch, "epoch"))], 2, 4)
    assert second == ([], 4, 4)  # it ended when the first one did
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


class Shown:
    """A progress bar."""

    def __enter__(self):
        return None

    def __exit__(self, *ended):
        return None


def test_a_training_that_crashed_goes_on_to_equal_weights(tmp_path):
    """With statistics of batches, which are those of rank 0; and the others need not see the checkpoint."""
    folder, net = tmp_path / "run", Net(dropout=0.5, statistics=True)
    whole = launch(2, lambda rank: train(task(2, module=net, loss=several_passes(net))))[0]

    def crash(rank):
        loss, calls = several_passes(net), []

        def failing(module, batch):
            calls.append(1)
            if rank == 0 and len(calls) == 4:
                raise KeyboardInterrupt
            return loss(module, batch)

        train(task(2, module=net, loss=failing, checkpoints=folder, checkpoint_seconds=0))

    first, second = launch(2, crash)
    assert isinstance(first, KeyboardInterrupt)
    assert isinstance(second, RuntimeError)

    def resume(rank):
        done = []
        result = train(
            task(
                2,
                module=net,
                loss=several_passes(net),
                checkpoints=None if rank else folder,
                progress=lambda total, title, before: done.append(before) or Shown(),
            )
        )
        return done, result

    (done, resumed), (_, other) = launch(2, resume)
    assert done == [3]
    for name, tensor in whole.last.items():
        assert torch.equal(resumed.last[name], tensor), name
    assert torch.equal(other.last["layers.0.weight"], whole.last["layers.0.weight"])


def test_a_loss_that_is_not_finite_anywhere_is_told_everywhere():
    def work(rank):
        def spoiled(net, batch):
            losses = logistic(net, batch)
            return {**losses, "loss": losses["loss"] * float("nan")} if rank else losses

        train(task(2, loss=spoiled))

    for found in launch(2, work):
        assert isinstance(found, LabelsegError)
        assert "the loss is nan at iteration 1 of 6" in str(found)


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(UsageError, match="2 samples at a time cannot be shared out to 3 processes"):
        train(task(3, accumulate=2))


def fail(what):
    """Do what ends a rank."""
    match what:
        case "disk":
            raise ValueError("disk is gone")
        case "data":
            raise DataError("no image")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "terminated":
            raise Terminated
        case "later":  # than another one
            while not ranks._Current.company._store.check(["first"]):
                time.sleep(0.01)
            raise ValueError("second")
        case "after":  # what others wait for is done then
            raise ValueError("too late")


def trained(inputs, params):
    """A work function, which does what its rank is told, at once or after a sum over all ranks."""
    rank = launched().rank
    inputs.log({"rank": rank})
    what = params.get(rank, "")
    if what != "after":
        fail(what)
    fabric, total = make_fabric("cpu", inputs.ranks), torch.ones(())
    held = fabric.setup_module(nn.Linear(1, 1))  # as a training has it, when it fails
    torch.distributed.all_reduce(total)
    fail(what)
    del held
    return rank, inputs.devices, inputs.ranks, float(total)


class Log:
    """Is written to by rank 0 alone."""

    def event(self, record):
        assert record["rank"] == 0


INPUTS = Inputs(None, None, devices="cpu", instance="train-x", run_log=Log())


def followed(company):
    """The code that another rank ends with."""
    try:
        return company.follow()
    except Terminated:
        return TERMINATED


def led(*trainings, code=0, size=2):
    """What each training gave, or its error, and the codes that the ranks ended with."""

    def work(rank):
        company = ranks.join(launched())
        if rank:
            return followed(company)
        found = []
        for params in trainings:
            try:
                found.append(ranks.train_together(trained, INPUTS, params))
            except Exception as error:
                found.append(error)
        company.dismiss(code)
        return found

    return launch(size, work)


def test_all_ranks_take_part_and_end_with_the_code_of_the_first():
    assert led({}, {}, code=3) == [[(0, "cpu", 2, 2.0)] * 2, 3]


@pytest.mark.parametrize(
    ("what", "kind", "message", "code"),
    [
        ("data", DataError, r"train-x, rank 1 of 2 on \S+: no image", 1),
        ("after", LabelsegError, r"train-x, rank 1 of 2 on \S+: ValueError: too late", 1),
        ("terminated", LabelsegError, r"train-x, rank 1 of 2 on \S+: Terminated", 143),
        ("killed", LabelsegError, r"train-x: one of its 2 processes is gone, as if killed\. What is finished stays", -signal.SIGKILL),
    ],
)
def test_the_failure_of_another_rank_is_told(monkeypatch, what, kind, message, code):
    monkeypatch.setattr(ranks, "GOODBYE_SECONDS", 5.0 if code == 1 else 0.1)  # nobody is there to say goodbye to
    started = time.monotonic()
    (error,), other = led({1: what}, code=1)
    assert type(error) is kind
    assert re.match(message, str(error))
    assert other == code
    assert time.monotonic() - started < 20  # rank 0 hears of it at once


def test_of_several_failures_the_first_is_told():
    (error,), *others = led({1: "disk", 2: "later"}, code=1, size=3)
    assert re.match(r"train-x, rank 1 of 3 on \S+: ValueError: disk is gone", str(error))
    assert others == [1, 1]


def test_after_a_failure_no_training_begins():
    (first, second), _ = led({1: "disk"}, {}, code=1)
    assert re.match(r"train-x, rank 1 of 2 on \S+: ValueError: disk is gone", str(first))
    assert str(second).startswith("train-x: its processes have parted, since a training failed before.")


def test_what_rank_0_has_to_say_is_told_first():
    (error,), *others = led({0: "data", 1: "disk", 2: "data"}, code=1, size=3)
    assert (type(error), str(error), others) == (DataError, "no image", [1, 1])
    (error,), other = led({0: "disk"}, code=1)
    assert (type(error), str(error), other) == (ValueError, "disk is gone", 1)


def test_the_end_of_rank_0_ends_the_others():
    def work(rank):
        company = ranks.join(launched())
        if rank:
            return company.follow()
        time.sleep(0.3)
        return fail("killed")

    first, other = launch(2, work)
    assert first == -signal.SIGKILL
    assert "rank 1 of 2: rank 0 is gone" in str(other)
