"""Processes that hear of Ctrl-C from the one that started them, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from labelseg.pipeline.files.mishaps import one_line


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Start processes which Ctrl-C, that reaches a whole group, passes by; here it is put off until this is left.

    A process takes over what is blocked where it is started, and would else write a traceback while it loads.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with suppress(OSError):
        resource_tracker.ensure_running()  # at its start it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_the_caller() -> None:
    """Let this process end when the one that started it does, however that happens."""
    caller = multiprocessing.parent_process()
    if caller is not None:
        threading.Thread(target=_end_after, args=(caller.sentinel,), daemon=True).start()


def ask_to_end(processes: Iterable[BaseProcess]) -> None:
    """Ask processes to end, by SIGTERM."""
    for process in processes:
        process.terminate()


def end_all(processes: Iterable[BaseProcess], seconds: float) -> None:
    """Wait some seconds, for all of them together, until processes end; kill those that do not."""
    processes = list(processes)
    until = time.monotonic() + seconds
    try:
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()


def portable(error: BaseException) -> BaseException:
    """Make an error that can be sent to another process: itself, or one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(one_line(error))
    return error


def _end_after(sentinel: int) -> None:
    """Wait for the end of the caller."""
    with suppress(OSError):
        wait([sentinel])
        os._exit(1)
