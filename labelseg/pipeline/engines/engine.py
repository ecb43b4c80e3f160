"""Runs a map stage over items: in this process, or in a pool of spawned ones.

Every worker computes whole items and writes its own parts, so that neither the number of workers nor an interruption
changes what is computed for an item. An accelerator is fed by this process, or by as many as are asked for; in each a few threads take an
item each: while one waits for the device, others decode and post-process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import accumulate, pairwise
from typing import Protocol

from labelseg.errors import LabelsegError
from labelseg.pipeline.engines.messages import Failed, MapJob, Message, Outcome, Task, Written
from labelseg.pipeline.engines.worker import Worker
from labelseg.pipeline.files.mishaps import keep_finished

CHUNK_ITEMS = 64
MOST_CHUNK_ITEMS = 4096  # a chunk ends a part
CHUNKS_A_WORKER = 4
ITEMS_A_WORKER = 4


class Engine(Protocol):
    """Computes the items of a map somewhere: it tells of each, once, that it is written or has failed, and loses none to a lost machine."""

    def messages(self, job: MapJob, tasks: Sequence[Task], workers: int) -> Generator[Message]:
        """Compute items and tell of them in any order; closing the generator ends the work."""

    def account(self, device: str, seconds: float) -> tuple[str, float]:
        """Tell on what the whole was computed and how long that took, given what was picked here and how long it took here."""


def compute_items(
    job: MapJob, tasks: Sequence[Task], workers: int, watch: Callable[[Message], None], engine: Engine | None = None
) -> Outcome:
    """Compute items and write them into parts.

    Args:
        job: What to compute.
        tasks: The items.
        workers: Processes to spawn; 0 computes in this one.
        watch: Told everything that happens, as it happens.
        engine: What computes; None is this machine.

    Returns:
        A place or a failure for every item.

    Raises:
        LabelsegError: the stage could not start, or waits for a person. Parts written until then stay.
    """
    keep_finished()
    if engine is not None:
        messages = engine.messages(job, tasks, workers)
    else:
        messages = _here(job, tasks) if workers == 0 else _in_pool(job, tasks, workers)
    outcome = Outcome()
    with closing(messages):  # so that workers end here too, if anything happens outside of them
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


def share_out(count: int, device: str, asked: int | None) -> int:
    """Choose the number of processes for a number of items; an accelerator is fed by this process alone unless others are asked for.

    Args:
        count: Number of items.
        device: What computes.
        asked: Processes asked for; None takes as many as there are cores, if that pays.
    """
    if device != "cpu" or asked is not None:
        return min(asked or 0, count)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if count <= ITEMS_A_WORKER or cores == 1 else min(cores, -(-count // ITEMS_A_WORKER))


def chunks(tasks: Sequence[Task], workers: int) -> list[list[Task]]:
    """Cut tasks into pieces of ``chunk_sizes``."""
    ends = list(accumulate(chunk_sizes(len(tasks), workers), initial=0))
    return [list(tasks[start:end]) for start, end in pairwise(ends)]


def chunk_sizes(count: int, workers: int) -> list[int]:
    """Choose how many tasks each piece has: of many large ones first, so that few parts come of them, and smaller ones towards the end.

    A piece is a quarter of what would be a worker's share of the rest, from 64 to 4,096 items; fewer where there are so few that not
    every worker would get some. Small pieces at the end keep workers from waiting for each other; of a large one, what is computed is
    written every minute.
    """
    workers = max(workers, 1)
    sizes, rest = [], count
    least = min(CHUNK_ITEMS, max(1, -(-count // (2 * workers))))
    while rest > 0:
        sizes.append(min(rest, MOST_CHUNK_ITEMS, max(least, rest // (CHUNKS_A_WORKER * workers))))
        rest -= sizes[-1]
    return sizes


def _here(job: MapJob, tasks: Sequence[Task]) -> Generator[Message]:
    """Compute all items in this process."""
    limit = job.set_threads or _no_threads
    # The stage may be what first loads torch; only then can its number of threads be set, and be known.
    before = limit(1)
    try:
        worker = Worker(job)
        loaded = limit(1)
        before = before or loaded
        for chunk in chunks(tasks, 0):
            yield from worker.chunk(chunk)
    finally:
        if before:
            limit(before)


def _in_pool(job: MapJob, tasks: Sequence[Task], workers: int) -> Generator[Message]:
    """Compute all items in spawned processes."""
    from labelseg.pipeline.engines.pool import Pool

    with Pool(job, workers) as pool:
        yield from pool.run(chunks(tasks, workers))


def _no_threads(count: int) -> int | None:
    """Stand in where nobody knows of threads."""
    return None
