"""A pool of spawned workers that survives the death of any of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Self

from labelseg.errors import LabelsegError
from labelseg.pipeline.engines.messages import Begun, Computed, Failed, MapJob, Message, Task, Written
from labelseg.pipeline.engines.worker import Worker

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# oneDNN keeps the code it makes for each size of image, by default for 1,024 of them: 2 MB an image more where all sizes differ.
KEPT_PRIMITIVES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
DEATHS_ALLOWED = 1
END_SECONDS = 5.0


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
        self._deaths: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for member in self._members:
            member.connection.close()
        for member in self._members:
            # An idle worker ends by itself; one that is still at work is of no use any more.
            if error[0] is not None:
                member.process.terminate()
            member.process.join(END_SECONDS)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()

    def run(self, chunks: Sequence[Sequence[Task]]) -> Iterator[Message]:
        """Compute all chunks and pass on what the workers tell, until every item is written or failed."""
        self._waiting.extend(list(chunk) for chunk in chunks)
        while self._waiting or any(member.busy for member in self._members):
            useful = len(self._waiting) + sum(member.busy for member in self._members)
            while len(self._members) < min(self._workers, useful):
                self._members.append(self._start())
            for member in self._members:
                if member.ready and not member.busy and self._waiting:
                    self._send(member, self._waiting.popleft())
            by_connection = {member.connection: member for member in self._members}
            for connection in wait(list(by_connection)):
                yield from self._hear(by_connection[connection])  # type: ignore[index]

    def _start(self) -> Member:
        """Spawn a worker whose numeric libraries use one thread."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._job), daemon=False, name=f"labelseg-{self._job.stage}")
        with _one_thread():
            process.start()
        theirs.close()
        return Member(process, ours)

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
        """Send the items of a dead worker to others: the one it died on by itself, so that it can do no more harm."""
        self._members.remove(member)
        member.connection.close()
        member.process.join()
        code = member.process.exitcode
        if not member.ready:
            raise LabelsegError(
                f"a worker of {self._job.stage} died while starting (exit code {code}). "
                "If memory ran out, try fewer: --workers 1. To see it happen: --workers 0"
            )
        left = list(member.open.values())
        if not left:
            return
        suspect = member.current or left[0].entry.id
        self._deaths[suspect] += 1
        if self._deaths[suspect] > DEATHS_ALLOWED:
            yield Failed(suspect, f"the worker process died on it twice (exit code {code})", "")
        else:
            self._waiting.append([member.open[suspect]])
        others = [task for task in left if task.entry.id != suspect]
        if others:
            self._waiting.appendleft(others)


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
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            worker = Worker(job)
        except Exception as error:
            connection.send(_broken(error))
            return
        if job.set_threads is not None:
            job.set_threads(1)
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
    """Pack an error for another process: itself where that is possible, or what it says."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Broken(RuntimeError(f"{type(error).__name__}: {error}"), traceback.format_exc())
    return Broken(error, traceback.format_exc())
