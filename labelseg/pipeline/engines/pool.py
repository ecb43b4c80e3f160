"""A pool of spawned workers that survives the death of any of them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import NoReturn, Self

from labelseg.errors import LabelsegError
from labelseg.pipeline.engines.messages import Begun, Computed, Failed, MapJob, Message, Task, Written
from labelseg.pipeline.engines.processes import ask_to_end, end_all, end_with_the_caller, portable, uninterrupted
from labelseg.pipeline.engines.worker import Stopped, Worker
from labelseg.pipeline.files.mishaps import MAP_MEMORY

logger = logging.getLogger(__name__)

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# oneDNN keeps the code it makes for each size of image, by default for 1,024 of them: 2 MB an image more where all sizes differ.
KEPT_PRIMITIVES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
DEATHS_ALLOWED = 1
END_SECONDS, STOP_SECONDS = 5.0, 3.0


@dataclass(frozen=True)
class Ready:
    """The stage has started in a worker."""


@dataclass(frozen=True)
class ChunkDone:
    """A worker is idle again."""


@dataclass(frozen=True)
class Broken:
    """The stage itself failed in a worker, not one of its items."""

    error: BaseException
    trace: str


@dataclass
class Member:
    """A worker as the pool sees it: whether it has started, whether it works on a chunk, and what of that is not on disk yet."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    ready: bool = False
    busy: bool = False
    current: str = ""
    open: dict[str, Task] = field(default_factory=dict)


class Pool:
    """Hands out chunks of items to workers. An item that kills its worker twice counts as failed.

    Args:
        job: What to compute.
        workers: Number of processes.
    """

    def __init__(self, job: MapJob, workers: int) -> None:
        self._job = job
        self._workers = workers
        self._members: list[Member] = []
        self._waiting: deque[list[Task]] = deque()
        self._suspects: deque[Task] = deque()
        self._deaths: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # An idle worker ends by itself; one that is still at work writes what it has, and is of no use any more.
        at_work = error[0] is not None
        processes = [member.process for member in self._members]
        try:
            if at_work:
                ask_to_end(processes)
            for member in self._members:
                member.connection.close()
        finally:
            end_all(processes, STOP_SECONDS if at_work else END_SECONDS)

    def run(self, chunks: Sequence[Sequence[Task]]) -> Iterator[Message]:
        """Compute all chunks and pass on what the workers tell, until every item is written or failed."""
        self._waiting.extend(list(chunk) for chunk in chunks)
        while self._waiting or self._suspects or any(member.busy for member in self._members):
            if not self._waiting and self._suspects and not any(member.busy for member in self._members):
                # Alone: what one process had no memory for may do while no other works.
                self._waiting.append([self._suspects.popleft()])
            useful = len(self._waiting) + sum(member.busy for member in self._members)
            while len(self._members) < min(self._workers, useful):
                self._start()
            for member in self._members:
                if member.ready and not member.busy and self._waiting:
                    self._send(member, self._waiting.popleft())
            by_connection = {member.connection: member for member in self._members}
            for connection in wait(list(by_connection)):
                yield from self._hear(by_connection[connection])  # type: ignore[index]

    def _start(self) -> None:
        """Spawn a worker whose numeric libraries use one thread."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._job), daemon=True, name=f"labelseg-{self._job.stage}")
        with _one_thread(), uninterrupted():
            process.start()
            self._members.append(Member(process, ours))
        theirs.close()

    def _send(self, member: Member, chunk: list[Task]) -> None:
        """Give a chunk to an idle worker; if it just died, that shows when we listen to it."""
        member.busy = True
        member.open = {task.entry.id: task for task in chunk}
        with contextlib.suppress(OSError):
            member.connection.send(chunk)

    def _hear(self, member: Member) -> Iterator[Message]:
        """Take one message of a worker, or notice its death."""
        try:
            message = member.connection.recv()
        except (EOFError, OSError):
            yield from self._bury(member)
            return
        if isinstance(message, Ready):
            member.ready = True
        elif isinstance(message, Broken):
            raise message.error from LabelsegError(f"in a worker of {self._job.stage}:\n{message.trace}")
        elif isinstance(message, ChunkDone):
            member.busy = False
        else:
            self._note(member, message)
            yield message

    @staticmethod
    def _note(member: Member, message: Message) -> None:
        """Remember what a worker would take with it if it died now."""
        if isinstance(message, Begun):
            member.current = message.id
        elif isinstance(message, Computed):
            member.current = ""
        elif isinstance(message, Failed):
            member.current = ""
            member.open.pop(message.id, None)
        elif isinstance(message, Written):
            for image_id, _ in message.places:
                member.open.pop(image_id, None)

    def _bury(self, member: Member) -> Iterator[Message]:
        """Send the items of a dead worker to others: the one it died on last and alone, so that it can do no more harm."""
        self._members.remove(member)
        member.connection.close()
        member.process.join()
        code = member.process.exitcode
        if not member.ready:
            self._do_with_fewer(code)
            return
        left = list(member.open.values())
        if not left:
            return
        suspect = member.current or left[0].entry.id
        self._deaths[suspect] += 1
        if self._deaths[suspect] > DEATHS_ALLOWED:
            advice = f" {MAP_MEMORY}" if code == -signal.SIGKILL else ""
            yield Failed(suspect, f"the worker process died on it twice ({_death(code)}).{advice}", "")
        else:
            self._suspects.append(member.open[suspect])
        others = [task for task in left if task.entry.id != suspect]
        if others:
            self._waiting.appendleft(others)

    def _do_with_fewer(self, code: int | None) -> None:
        """Go on without a worker that died while it started.

        Raises:
            LabelsegError: it was the last one.
        """
        self._workers = len(self._members)
        if not self._workers:
            raise LabelsegError(
                f"a worker of {self._job.stage} died while starting ({_death(code)}). "
                "If memory ran out, take fewer: --workers 1. To see it happen: --workers 0"
            )
        logger.warning("a worker of %s died while starting (%s): going on with %d", self._job.stage, _death(code), self._workers)


def _death(code: int | None) -> str:
    """Say what a process died of."""
    if code == -signal.SIGKILL:
        return f"exit code {code}: killed, as the system does when memory runs out"
    return f"exit code {code}"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Set the environment that a spawned process inherits; the libraries read it when they are loaded."""
    before = {name: os.environ.get(name) for name in (*THREAD_VARIABLES, *KEPT_PRIMITIVES)}
    os.environ.update({**KEPT_PRIMITIVES, **os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(connection: Connection, job: MapJob) -> None:
    """Live as a worker: start the stage, then compute chunks until the pool hangs up."""
    # Ctrl-C reaches the whole group; the pool decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_the_caller()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, Stopped):
        try:
            worker = Worker(job)
        except Exception as error:
            connection.send(_broken(error))
            return
        if job.set_threads is not None:
            job.set_threads(1)
        signal.signal(signal.SIGTERM, _stop)
        connection.send(Ready())
        while True:
            chunk = connection.recv()
            try:
                for message in worker.chunk(chunk):
                    connection.send(message)
            except (BrokenPipeError, ConnectionResetError):
                return
            except Exception as error:
                connection.send(_broken(error))
                return
            connection.send(ChunkDone())


def _broken(error: Exception) -> Broken:
    """Pack an error for another process."""
    return Broken(portable(error), traceback.format_exc())


def _stop(number: int, frame: object) -> NoReturn:
    """Leave off, and write what is computed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped
