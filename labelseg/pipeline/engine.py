"""Runs a map stage over items: in this process, or in a pool of spawned ones.

Every worker computes whole items and writes its own parts, so that neither the number of workers nor an interruption
changes what is computed for an item. An accelerator is fed by this process alone, where a few threads take an item each: while one
waits for the device, others decode and post-process.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from labelseg.errors import ArtifactError, LabelsegError, WaitingError
from labelseg.pipeline.inputs import Inputs
from labelseg.pipeline.parts import Location, PartItem
from labelseg.pipeline.planning import Entry
from labelseg.pipeline.store import PartWriter

CHUNK_ITEMS = 64
FEEDING_THREADS = 4
FLUSH_SECONDS = 60.0

SetThreads = Callable[[int], "int | None"]


class Task(NamedTuple):
    """One item to compute, under the key it will have."""

    entry: Entry
    key: str


@dataclass(frozen=True)
class MapJob:
    """What the workers of a map stage need to know. Picklable.

    Attributes:
        stage: Name of the stage.
        run: The work function of the stage, importable by name.
        params: Its parameters.
        inputs: What it reads.
        header: Recorded in every part.
        has_masks: Whether each item must hold an array ``mask``.
        set_threads: Sets the threads of the numeric libraries that are loaded and returns how many there were, None where
            it does not know; importable by name.
    """

    stage: str
    run: Callable[..., Any]
    params: Any
    inputs: Inputs
    header: Mapping[str, Any]
    has_masks: bool = False
    set_threads: SetThreads | None = None


class Begun(NamedTuple):
    """A worker starts on an item."""

    id: str


class Computed(NamedTuple):
    """An item is computed, and waits to be written."""

    id: str


class Written(NamedTuple):
    """Items are on disk."""

    places: list[tuple[str, Location]]


class Failed(NamedTuple):
    """An item could not be computed."""

    id: str
    error: str
    trace: str


Message = Begun | Computed | Written | Failed


@dataclass
class Outcome:
    """What became of the items: where they lie, and which failed."""

    places: dict[str, Location] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)


class Worker:
    """Computes chunks of items; the same code in this process and in a pool.

    Args:
        job: What to compute.
        threads: Items computed at once.
    """

    def __init__(self, job: MapJob, threads: int = 1) -> None:
        self._job, self._threads = job, threads
        self._writer = PartWriter(job.inputs.store, job.stage, job.header)
        self._compute = job.run(job.inputs, job.params)

    def chunk(self, tasks: Sequence[Task]) -> Iterator[Message]:
        """Compute items and tell of them in their order; an item that fails is told and skipped."""
        unwritten: list[str] = []
        flushed = time.monotonic()
        for task, result in self._results(tasks):
            yield Begun(task.entry.id)
            try:
                arrays = result()
            except WaitingError:
                raise
            except Exception as error:
                # One bad image must not end the work on ten thousand.
                yield Failed(task.entry.id, _one_line(error), traceback.format_exc())
                continue
            self._writer.add(PartItem(task.entry.id, task.key, arrays))
            unwritten.append(task.entry.id)
            yield Computed(task.entry.id)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                yield Written(list(zip(unwritten, self._writer.flush(), strict=True)))
                unwritten, flushed = [], time.monotonic()
        if unwritten:
            yield Written(list(zip(unwritten, self._writer.flush(), strict=True)))

    def _results(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Callable[[], dict[str, np.ndarray]]]]:
        """Pair each item with what gives its arrays; with threads, the next items are under way meanwhile."""
        if self._threads == 1:
            yield from ((task, partial(self._arrays, task)) for task in tasks)
            return
        pool = ThreadPoolExecutor(self._threads, "item")
        try:
            upcoming: deque[tuple[Task, Future[dict[str, np.ndarray]]]] = deque()
            for task in tasks:
                upcoming.append((task, pool.submit(self._arrays, task)))
                if len(upcoming) > self._threads:
                    first, future = upcoming.popleft()
                    yield first, future.result
            yield from ((task, future.result) for task, future in upcoming)
        finally:
            pool.shutdown(cancel_futures=True)

    def _arrays(self, task: Task) -> dict[str, np.ndarray]:
        """Compute the arrays of one item and check that they are what the stage declares."""
        arrays = self._compute(self._job.inputs.item(task.entry))
        if not isinstance(arrays, dict):
            raise ArtifactError(f"{self._job.stage} for {task.entry.id}: expected a dict of arrays, got {type(arrays).__name__}.")
        if self._job.has_masks and "mask" not in arrays:
            raise ArtifactError(f"{self._job.stage} for {task.entry.id}: expected an array 'mask', got {', '.join(arrays) or 'nothing'}.")
        return {name: np.asarray(array) for name, array in arrays.items()}


def compute_items(job: MapJob, tasks: Sequence[Task], workers: int, watch: Callable[[Message], None]) -> Outcome:
    """Compute items and write them into parts.

    Args:
        job: What to compute.
        tasks: The items.
        workers: Processes to spawn; 0 computes in this one.
        watch: Told everything that happens, as it happens.

    Returns:
        A place or a failure for every item.

    Raises:
        LabelsegError: the stage could not start, or waits for a person. Parts written until then stay.
    """
    messages = _here(job, tasks) if workers == 0 else _in_pool(job, tasks, workers)
    outcome = Outcome()
    for message in messages:
        if isinstance(message, Written):
            outcome.places.update(message.places)
        elif isinstance(message, Failed):
            outcome.failed.append(message)
        watch(message)
    told = outcome.places.keys() | {failed.id for failed in outcome.failed}
    lost = [task.entry.id for task in tasks if task.entry.id not in told]
    if lost:
        raise LabelsegError(f"{job.stage}: {len(lost)} items were neither computed nor reported, {lost[0]} the first. Run again.")
    return outcome


def chunks(tasks: Sequence[Task], workers: int) -> list[list[Task]]:
    """Cut tasks into pieces of ``CHUNK_ITEMS``, or smaller so that every worker gets some."""
    size = min(CHUNK_ITEMS, max(1, -(-len(tasks) // (2 * max(workers, 1)))))
    return [list(tasks[start : start + size]) for start in range(0, len(tasks), size)]


def _here(job: MapJob, tasks: Sequence[Task]) -> Iterator[Message]:
    """Compute all items in this process."""
    limit = job.set_threads or _no_threads
    # The stage may be what first loads torch; only then can its number of threads be set, and be known.
    before = limit(1)
    try:
        worker = Worker(job, 1 if job.inputs.device == "cpu" else FEEDING_THREADS)
        loaded = limit(1)
        before = before or loaded
        for chunk in chunks(tasks, 0):
            yield from worker.chunk(chunk)
    finally:
        if before:
            limit(before)


def _in_pool(job: MapJob, tasks: Sequence[Task], workers: int) -> Iterator[Message]:
    """Compute all items in spawned processes."""
    from labelseg.pipeline.pool import Pool

    with Pool(job, workers) as pool:
        yield from pool.run(chunks(tasks, workers))


def _no_threads(count: int) -> int | None:
    """Stand in where nobody knows of threads."""
    return None


def _one_line(error: BaseException) -> str:
    """Tell an error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, LabelsegError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
