"""The batches of a training: which samples make each, and who loads them; the failure of a loading process is reported in one line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from labelseg.errors import LabelsegError
from labelseg.pipeline.engines.processes import end_with_the_caller, portable, uninterrupted
from labelseg.pipeline.files.mishaps import GOES_ON

Key = TypeVar("Key")
_ORDER, _SAMPLE = range(2)  # first word of each seed; keeps the streams apart, and from the loop's own
_KILLED = re.compile(r"DataLoader worker .*?(?:killed by signal: ([^.]+)\.|exited unexpectedly)", re.S)
SHARED_MEMORY = (
    "Take fewer processes for loading, or none (--workers 0); in a container give it more shared memory (docker run --shm-size 2g)."
)


class TrainingSet(Protocol):
    """A map-style set of samples; picklable when loaded by workers."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Load and augment a sample; ``rng`` is seeded by seed, epoch and index."""
        ...


@dataclass(frozen=True)
class Share:
    """Which samples of every batch one of several processes computes: every ``size``-th, from the ``rank``-th on."""

    rank: int = 0
    size: int = 1

    def of(self, keys: Sequence[Key]) -> Sequence[Key]:
        """Pick them."""
        return keys[self.rank :: self.size]


@dataclass(frozen=True)
class Plan:
    """How the set is cut into batches, and batches into epochs.

    Attributes:
        samples: Length of the set.
        batch: Samples an update.
        steps: Updates an epoch.
        total: Updates in all.
        parts: Sizes of the parts in which a batch passes through the network.
    """

    samples: int
    batch: int
    steps: int
    total: int
    parts: tuple[int, ...]


@dataclass(frozen=True)
class _Refused:
    """Takes the place of a batch that could not be made in another process."""

    error: BaseException
    trace: str


class _Samples(Dataset[Any]):
    """The training set under keys (epoch, index)."""

    def __init__(self, source: TrainingSet, seed: int) -> None:
        self.source, self.seed = source, seed

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Any] | _Refused:
        try:
            return [self.source.sample(key[1], np.random.default_rng((_SAMPLE, self.seed, *key))) for key in keys]
        except Exception as error:
            return _refused(error)


class _Order(Sampler[list[tuple[int, int]]]):
    """The keys of each part of each batch from iteration ``start`` to the end.

    One order over all epochs: the loader's workers start once and load ahead across the end of an epoch.
    """

    def __init__(self, plan: Plan, seed: int, start: int, share: Share) -> None:
        self.plan, self.seed, self.start, self.share = plan, seed, start, share

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        plan, order, drawn = self.plan, np.empty(0, dtype=np.int64), -1
        for iteration in range(self.start, plan.total):
            epoch, step = divmod(iteration, plan.steps)
            if epoch != drawn:
                order, drawn = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(plan.samples), epoch
            first = step * plan.batch
            for size in plan.parts:
                yield [(epoch, index) for index in self.share.of(order[first : first + size].tolist())]
                first += size


@dataclass(frozen=True)
class _Collate:
    """Makes a batch; in another process one that lies in shared memory, where a lack of it can still be told."""

    collate: Callable[[list[Any]], Any]

    def __call__(self, samples: list[Any] | _Refused) -> Any:
        if isinstance(samples, _Refused):
            return samples
        try:
            batch = self.collate(samples)
            if get_worker_info() is not None:
                _share(batch)
        except Exception as error:
            return _refused(error)
        return batch


def load_batches(
    source: TrainingSet, collate: Callable[[list[Any]], Any], plan: Plan, *, seed: int, start: int, share: Share, workers: int, pin: bool
) -> Iterator[Any]:
    """Load the parts of all batches from iteration ``start`` on, ahead of their use.

    Args:
        collate: Makes a batch of samples.
        share: What of each part this process computes.
        workers: Processes that load; 0 loads in a thread of this one.
        pin: Whether to keep batches where a GPU can fetch them.

    Raises:
        Exception: what a sample or ``collate`` raised, as it was.
    """
    loader = DataLoader(
        _Samples(source, seed),
        batch_sampler=_Order(plan, seed, start, share),
        num_workers=workers,
        collate_fn=_Collate(collate),
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin if workers else None,
        pin_memory=pin,
    )
    # Not in a generator: torch draws a number here, which must not come out of the stream of the first iteration.
    with uninterrupted():
        batches = iter(loader)
    return _accepted(batches if workers else _ahead(batches))


def told_death(error: BaseException, title: str) -> LabelsegError | None:
    """Tell in one line that a process which loads was killed, or had no shared memory; None where it is something else."""
    text = str(error)
    if found := _KILLED.search(text):
        how = f" by the signal {found[1]}" if found[1] else ""
        return LabelsegError(f"{title}: a process that loads images was killed{how}. {SHARED_MEMORY} {GOES_ON}")
    if isinstance(error, RuntimeError | OSError) and ("shared memory" in text or "</torch_" in text):
        return LabelsegError(f"{title}: no shared memory is left (/dev/shm). {SHARED_MEMORY} {GOES_ON}")
    return None


def _accepted(batches: Iterator[Any]) -> Iterator[Any]:
    """Pass batches on, and raise what kept one from being made."""
    for batch in batches:
        if isinstance(batch, _Refused):
            raise batch.error from LabelsegError(f"while loading:\n{batch.trace}")
        yield batch


def _begin(worker: int) -> None:
    """Begin as a process that loads."""
    end_with_the_caller()


def _share(batch: Any) -> None:
    """Move the tensors of a batch to shared memory."""
    if isinstance(batch, Tensor):
        batch.share_memory_()
    elif isinstance(batch, Mapping):
        _share(list(batch.values()))
    elif isinstance(batch, list | tuple):
        for part in batch:
            _share(part)


def _refused(error: Exception) -> _Refused:
    return _Refused(portable(error), traceback.format_exc())


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Load the next batch in a thread while this one is computed on."""
    end = object()
    with ThreadPoolExecutor(1, "loader") as loader:
        upcoming = loader.submit(next, batches, end)
        while (batch := upcoming.result()) is not end:
            upcoming = loader.submit(next, batches, end)
            yield batch
