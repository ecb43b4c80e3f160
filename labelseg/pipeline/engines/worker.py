"""Computes items and writes them into parts: the same code in this process and in a pool."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from labelseg.errors import ArtifactError, WaitingError
from labelseg.pipeline.engines.messages import Begun, Computed, Failed, MapJob, Message, Task, Written
from labelseg.pipeline.engines.unchanged import Unchanged
from labelseg.pipeline.files.fingerprint import FreshDigests
from labelseg.pipeline.files.mishaps import MAP_MEMORY, ends_all, explained, one_line
from labelseg.pipeline.store.manifests import Location
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter

if TYPE_CHECKING:
    from labelseg.protocols import Dataset

FLUSH_SECONDS = 60.0
FEEDING_THREADS = 4


class Stopped(BaseException):
    """The pool wants no more of this worker."""


class Elsewhere:
    """Takes items that the work function has put elsewhere."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, item: PartItem) -> None:
        """Count an item."""
        self._count += 1

    def flush(self) -> list[Location]:
        """Give a place for every item since the last call, in no part."""
        places, self._count = [Location("", k, "") for k in range(self._count)], 0
        return places


class Worker:
    """Computes chunks of items; the same code in this process and in a pool.

    Args:
        job: What to compute.
        threads: Items computed at once; by default one on a CPU, and as many as keep another device busy.
    """

    def __init__(self, job: MapJob, threads: int | None = None) -> None:
        self._job = job
        self._threads = threads or (1 if job.inputs.device == "cpu" else FEEDING_THREADS)
        self._writer = PartWriter(job.inputs.store, job.stage, job.header) if job.keeps else Elsewhere()
        self._flush_seconds = FLUSH_SECONDS if job.keeps else 0.0
        self._compute = job.run(job.inputs, job.params)
        self._unchanged = Unchanged(cast("Dataset", job.inputs.dataset), FreshDigests(), job.inputs.truth)

    def chunk(self, tasks: Sequence[Task]) -> Iterator[Message]:
        """Compute items and tell of them in their order; an item that fails is told and skipped.

        Where the work is cut short, what is computed is written before it ends.
        """
        try:
            yield from self._chunk(tasks)
        except BaseException:
            with suppress(Exception):  # such as a full disk, which is why the work ends
                self._writer.flush()
            raise

    def _chunk(self, tasks: Sequence[Task]) -> Iterator[Message]:
        """Do what ``chunk`` says."""
        unwritten: list[str] = []
        flushed = time.monotonic()
        for task, result in self._results(tasks):
            yield Begun(task.entry.id)
            try:
                arrays = result()
            except WaitingError:
                raise
            except Exception as error:
                # One bad image must not end the work on ten thousand; a full disk is no fault of an image.
                if ends_all(error):
                    raise
                yield Failed(task.entry.id, self._told(task.entry.id, error), traceback.format_exc())
                continue
            self._writer.add(PartItem(task.entry.id, task.key, arrays))
            unwritten.append(task.entry.id)
            yield Computed(task.entry.id)
            if time.monotonic() - flushed >= self._flush_seconds:
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
        self._unchanged.demand(task.entry, f"{self._job.stage} for {task.entry.id}")
        return {name: np.asarray(array) for name, array in arrays.items()}

    def _told(self, image_id: str, error: Exception) -> str:
        """Tell in one line why an item failed."""
        folder = self._job.inputs.store.root
        return one_line(explained(error, f"{self._job.stage} for {image_id}", folder, MAP_MEMORY) or error)
