"""Runs a map stage on the workers of Dask: those of a scheduler somewhere, or of one started on this machine.

Each worker computes whole items, one at a time, and writes its own parts, as those of the pool do. What was under way on a worker that is
lost, another one computes; a loss is never counted against an item.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelseg import __version__
from labelseg.errors import LabelsegError, MissingExtraError, UsageError
from labelseg.pipeline.engines.engine import chunks
from labelseg.pipeline.engines.messages import Computed, Failed, MapJob, Message, Task, Written
from labelseg.pipeline.engines.pool import KEPT_PRIMITIVES, THREAD_VARIABLES
from labelseg.pipeline.engines.processes import portable
from labelseg.pipeline.engines.worker import Worker
from labelseg.pipeline.files.mishaps import GOES_ON

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0  # how long a scheduler may take to answer
DEADLY = 3  # times after which a chunk that comes back without result is not sent again
PATIENCE_SECONDS = 30.0  # after which it is told that nobody works
POLL_SECONDS = 0.02
MOST_ITEMS = 512  # of a chunk: what was under way on a worker that is lost is computed again from the start of its chunk


@dataclass(frozen=True)
class DaskEngine:
    """Computes items by the workers of Dask.

    Attributes:
        scheduler: Address of the scheduler; None starts one for each map, with workers on this machine.
    """

    scheduler: str | None = None

    def messages(self, job: MapJob, tasks: Sequence[Task], workers: int) -> Generator[Message]:
        """Compute items and tell of them as chunks of them are done.

        Raises:
            MissingExtraError: Dask is not installed.
            UsageError: the address is none.
            LabelsegError: no scheduler answers, or it is gone; a worker cannot do the work; an item takes every worker with it.
        """
        with _beacon(job) as call, self._client(workers) as client:
            there = client.nthreads()
            _demand_fit(client.run(_probe(call)))
            todo = [chunk[k : k + MOST_ITEMS] for chunk in chunks(tasks, max(1, len(there))) for k in range(0, len(chunk), MOST_ITEMS)]
            yield from _Distribution(client, self.scheduler or "this machine", call).run(job, todo)

    def account(self, device: str, seconds: float) -> tuple[str, float]:
        """Tell on what the whole was computed, and how long that took: as it looks from here."""
        return device, seconds

    @contextmanager
    def _client(self, workers: int) -> Iterator[Any]:
        """Connect to the scheduler, or start one with workers that use one thread."""
        try:
            import distributed
        except ImportError as error:
            raise MissingExtraError("--engine dask needs distributed. Run: pip install 'labelseg[dask]'") from error
        if self.scheduler is None:
            environ = {**KEPT_PRIMITIVES, **dict.fromkeys(THREAD_VARIABLES, "1")}
            with (
                distributed.LocalCluster(
                    n_workers=max(1, workers), threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL, env=environ
                ) as cluster,
                distributed.Client(cluster) as client,
            ):
                yield client
            return
        try:
            client = distributed.Client(self.scheduler, timeout=ANSWER_SECONDS)
        except (ValueError, TypeError) as error:
            raise UsageError(f"--scheduler {self.scheduler}: expected an address such as tcp://10.0.0.1:8786, got {error}.") from error
        except OSError as error:
            raise LabelsegError(
                f"no Dask scheduler answers at {self.scheduler} within {ANSWER_SECONDS:.0f} s. "
                "Start one by `dask scheduler`, and give the address that it prints: --scheduler ADDRESS"
            ) from error
        with client:
            yield client


@dataclass(frozen=True)
class Call:
    """One map on the workers of Dask: what a worker has to see before it may work on it.

    Attributes:
        id: Names it; no other one has it.
        folder: The current folder of the caller, from which relative paths start.
        beacon: A file in the workspace.
        version: Version of labelseg.
    """

    id: str
    folder: str
    beacon: str
    version: str


@contextmanager
def _beacon(job: MapJob) -> Iterator[Call]:
    """Leave a file in the workspace while it is worked on, by which a worker can tell that it sees this very folder."""
    name = uuid.uuid4().hex
    path = (job.inputs.store.root / "tmp" / f"dask-{name}").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        yield Call(name, os.getcwd() if not job.inputs.store.root.is_absolute() else "", str(path), __version__)
    finally:
        path.unlink(missing_ok=True)


def _probe(call: Call) -> Callable[[], str]:
    """Make a function that says why a worker cannot work, nothing where it can. It goes there whole, so labelseg need not be there."""
    beacon, version = call.beacon, call.version

    def probe() -> str:
        import os

        try:
            import labelseg
        except ImportError as error:
            return f"cannot load labelseg: {error}. Install version {version} there"
        if labelseg.__version__ != version:
            return f"has version {labelseg.__version__} of labelseg, expected {version}. Install that there"
        if not os.path.exists(beacon):
            folder = os.path.dirname(os.path.dirname(beacon))
            return f"does not see {folder}. Put the workspace, and the images, where all machines see them under the same path"
        return ""

    return probe


def _demand_fit(found: dict[str, str]) -> None:
    """Refuse workers that cannot work.

    Raises:
        LabelsegError: one cannot.
    """
    for address, problem in sorted(found.items()):
        if problem:
            raise LabelsegError(f"the Dask worker {address} {problem}, and run the same command again.")


class _Distribution:
    """One map as the caller sees it: chunks under way, and items that took every worker with them.

    Args:
        client: Of ``distributed``.
        scheduler: What it is called in messages.
        call: What workers have to see.
    """

    def __init__(self, client: Any, scheduler: str, call: Call) -> None:
        self._client = client
        self._scheduler = scheduler
        self._call = call
        self._job: MapJob | None = None
        self._given: Any = None
        self._waiting: dict[Any, list[Task]] = {}
        self._deadly: list[str] = []
        self._deaths: dict[str, int] = {}  # first item of a chunk -> times that it came back without result

    def run(self, job: MapJob, todo: Sequence[list[Task]]) -> Generator[Message]:
        """Compute chunks and tell what became of their items."""
        from distributed import as_completed

        self._job = job
        completed = as_completed([self._send(chunk) for chunk in todo])
        heard = time.monotonic()
        try:
            while self._waiting:
                batch = completed.next_batch(block=False)
                for future in batch:
                    messages, again = self._hear(future)
                    yield from messages
                    for chunk in again:
                        completed.add(self._send(chunk))
                if batch:
                    heard = time.monotonic()
                elif time.monotonic() - heard > PATIENCE_SECONDS:
                    self._tell_if_alone()
                    heard = time.monotonic()
                else:
                    time.sleep(POLL_SECONDS)
        finally:
            with suppress(Exception):  # the scheduler may be what is gone
                self._client.cancel(list(self._waiting), force=True)
                self._client.run(_forget, self._call.id)
        if self._deadly:
            raise LabelsegError(
                f"{len(self._deadly)} items of {job.stage} took one worker after another with them, {self._deadly[0]} the first; all other "
                "items are computed. Memory may have run out: give workers more, or compute those here by the same command with "
                "--engine local"
            )

    def _send(self, chunk: list[Task]) -> Any:
        """Hand a chunk to the scheduler, after the job that all of them need."""
        if self._given is None or self._given.status == "error":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sending large graph")
                # The result of a task is computed again where its holder is lost; what is scattered would be gone.
                self._given = self._client.submit(_give, self._job, pure=False)
        future = self._client.submit(_compute, self._call, self._given, chunk, pure=False)
        self._waiting[future] = chunk
        return future

    def _hear(self, future: Any) -> tuple[list[Message], list[list[Task]]]:
        """Take what became of a chunk: what is told of it, and what is to be sent again.

        Raises:
            LabelsegError: the scheduler is gone, or a worker cannot work.
            Exception: what the stage itself raised.
        """
        from distributed import KilledWorker

        chunk = self._waiting.pop(future)
        if future.status in ("cancelled", "lost"):
            if self._is_there() and self._died(chunk) < DEADLY:  # only what it was to be made of went with a worker
                self._given = None
                return [], [chunk]
            raise LabelsegError(f"the Dask scheduler at {self._scheduler} is gone. {GOES_ON}")
        if future.status == "finished":
            written = future.result()
            computed: list[Message] = [Computed(image_id) for m in written if isinstance(m, Written) for image_id, _ in m.places]
            return [*computed, *written], []
        error = future.exception()
        if isinstance(error, KilledWorker):
            # Dask gives up on what several workers died on, one after another: they may have left, or one item may be their end.
            if self._given.status == "error":
                return [], [chunk]
            if len(chunk) > 1:
                return [], [[task] for task in chunk]
            # Alone in its chunk it may still have waited behind another one, in a worker that this one took with it.
            if self._died(chunk) < DEADLY:
                return [], [chunk]
            self._deadly.append(chunk[0].entry.id)
            return [Computed(chunk[0].entry.id)], []
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("labelseg"):
            raise LabelsegError(
                f"a Dask worker that came later cannot load labelseg: {error}. Install version {self._call.version} there."
            ) from error
        raise error

    def _died(self, chunk: list[Task]) -> int:
        """Count how often a chunk came back without result."""
        name = chunk[0].entry.id
        self._deaths[name] = self._deaths.get(name, 0) + 1
        return self._deaths[name]

    def _is_there(self) -> bool:
        """Whether the scheduler answers."""
        try:
            self._client.nthreads()
        except Exception:  # whatever a broken connection raises
            return False
        return True

    def _tell_if_alone(self) -> None:
        """Tell that nobody works, where that is so."""
        if not self._client.nthreads():
            logger.warning("%s has no Dask worker: waiting for one. Start one there: dask worker ADDRESS --nthreads 1", self._scheduler)


def _give(job: MapJob) -> MapJob:
    """Be the task whose result the others read."""
    return job


_ONE_AT_A_TIME = threading.Lock()
_workers: dict[str, Worker] = {}


def _compute(call: Call, job: MapJob, chunk: list[Task]) -> list[Message]:
    """Compute a chunk in a worker of Dask.

    Raises:
        LabelsegError: this worker cannot do it.
        Exception: what the stage itself raised.
    """
    with _ONE_AT_A_TIME:
        problem = _probe(call)()
        if problem:
            raise LabelsegError(f"a Dask worker that came later {problem}, and run the same command again.")
        with _inside(call.folder):
            try:
                return [message for message in _worker(call, job).chunk(chunk) if isinstance(message, Written | Failed)]
            except Exception as error:
                raise portable(error) from LabelsegError(f"in a worker of {job.stage}:\n{traceback.format_exc()}")


def _worker(call: Call, job: MapJob) -> Worker:
    """Start the stage in this process, once."""
    if call.id not in _workers:
        limit = job.set_threads or _no_threads
        limit(1)
        worker = Worker(job)
        limit(1)
        _workers.clear()
        _workers[call.id] = worker
    return _workers[call.id]


def _forget(name: str) -> None:
    """Free what a map has loaded."""
    _workers.pop(name, None)


def _no_threads(count: int) -> None:
    """Stand in where nobody knows of threads."""


@contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Work in a folder, so that relative paths lead where they do for the caller; empty stays in this one."""
    if not folder:
        yield
        return
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
