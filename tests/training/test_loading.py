"""Trainings whose machine fails: loading processes, shared memory, memory; each is reported in one line, and can be resumed."""

from __future__ import annotations

import os
import pickle
import resource
import signal

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.errors import DataError, LabelsegError, OutOfMemoryError
from labelseg.pipeline.files.mishaps import explained
from labelseg.training import loading
from labelseg.training.loading import told_death
from labelseg.training.loop import TrainTask, train
from labelseg.training.optimization import Optimization, ParameterGroup

ENORMOUS = 1 << 50
SEED = 2  # puts sample 4 into the last batch of the first epoch


class Samples:
    """Small samples; the machine fails from sample 4 on, once, in a process that loads or in this one."""

    def __len__(self) -> int:
        return 8

    def sample(self, index: int, rng: np.random.Generator) -> np.ndarray:
        if index == 4:
            self.fail()
        return np.full((3, 4), index, np.float32)

    def fail(self) -> None:
        """Nothing."""


class Killed(Samples):
    def fail(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class NoSharedMemory(Samples):
    """Shared memory is made of files, which may not grow in this process any more."""

    def fail(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


class Unreadable(Samples):
    def fail(self) -> None:
        raise DataError("a4.jpg: expected an image, found an empty file.")


class TooLarge(Samples):
    def fail(self) -> None:
        np.ones(ENORMOUS)


def square_loss(net, batch):
    return {"loss": net(batch[:, 0]).square().mean()}


def task(dataset, loss=square_loss, **changes) -> TrainTask:
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    settings = {"epochs": 2, "batch_size": 2, "title": "train-net", **changes}
    groups = [ParameterGroup(parameters=list(net.parameters()))]
    return TrainTask(module=net, loss=loss, dataset=dataset, groups=groups, optimization=Optimization(lr=0.01), **settings)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals")
@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (Killed(), "train-net, iteration . of 8: a process that loads images was killed.*--workers 0.*goes on from there."),
        (NoSharedMemory(), "train-net, iteration . of 8: no shared memory is left .*--workers 0.*goes on from there."),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_befalls_a_process_that_loads_is_one_line(dataset, expected, tmp_path):
    with pytest.raises(LabelsegError, match=f"^{expected}$") as caught:
        train(task(dataset, workers=1, checkpoints=tmp_path, checkpoint_seconds=0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", [DataError("a4.jpg: expected an image, found an empty file."), MemoryError()])
def test_what_a_process_that_loads_cannot_make_travels_in_the_place_of_the_batch(fault):
    def refuse(samples):
        raise fault

    made = loading._Collate(refuse)([1, 2])
    with pytest.raises(type(fault)) as caught:
        next(loading._accepted(iter([pickle.loads(pickle.dumps(made))])))
    assert str(caught.value) == str(fault)


def test_a_loader_that_failed_costs_no_update_that_was_done(tmp_path):
    settings = {"checkpoints": tmp_path, "checkpoint_seconds": 0.0, "seed": SEED}
    seen: list[int] = []

    def count(net, batch):
        seen.append(len(batch))
        return square_loss(net, batch)

    with pytest.raises(DataError):
        train(task(Unreadable(), count, **settings))
    done = len(seen)
    result = train(task(Samples(), count, **settings))
    assert 0 < done < 4
    assert len(seen) == 8
    assert torch.equal(result.last["weight"], train(task(Samples(), seed=SEED)).last["weight"])


def test_memory_that_a_sample_asks_for_in_vain_is_one_line():
    expected = r"^train-net, iteration . of 8: out of memory, 8\.00 PiB were asked for\. Take a smaller --batch-size \(2 now\) or --crop\.$"
    with pytest.raises(OutOfMemoryError, match=expected):
        train(task(TooLarge()))


def test_memory_that_the_network_asks_for_in_vain_is_one_line():
    with pytest.raises(OutOfMemoryError, match=r"^train-net, iteration 1 of 8: out of memory, \d+ bytes were asked for\. Take a smaller"):
        train(task(Samples(), lambda net, batch: {"loss": torch.empty(ENORMOUS).sum()}))


def test_memory_of_a_gpu_is_told_as_such():
    def loss(net, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 GiB of\nwhich")

    expected = r"^train-net, iteration 1 of 8: out of memory of the GPU, 20\.00 GiB were asked for\. Take a smaller --batch-size \(2 now\)"
    with pytest.raises(OutOfMemoryError, match=expected):
        train(task(Samples(), loss))


def test_a_small_shared_memory_that_kills_is_told_too():
    pages = "DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory."
    assert str(told_death(RuntimeError(pages), "train-net")).startswith(
        "train-net: a process that loads images was killed by the signal Bus error. "
    )
    assert told_death(RuntimeError("shapes do not fit"), "train-net") is None


def test_a_checkpoint_that_finds_no_room_is_one_line_and_the_one_before_stands(tmp_path):
    settings = {"checkpoints": tmp_path, "checkpoint_seconds": 0.0, "seed": SEED}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    seen: list[int] = []

    def limit(net, batch):
        seen.append(1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 if len(seen) == 3 else before[0], before[1]))
        return square_loss(net, batch)

    try:
        with pytest.raises(Exception) as caught:
            train(task(Samples(), limit, **settings))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "ulimit -f unlimited" in str(explained(caught.value, "train-net", tmp_path))
    assert torch.equal(train(task(Samples(), limit, **settings)).last["weight"], train(task(Samples(), seed=SEED)).last["weight"])
    assert len(seen) == 3 + 6
