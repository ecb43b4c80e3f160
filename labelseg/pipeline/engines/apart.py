"""Work in a process of its own, for what must not happen in one that has used a GPU."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from labelseg.errors import LabelsegError
from labelseg.pipeline.engines.processes import portable, uninterrupted

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Failure:
    """What the work raised, and where."""

    error: BaseException
    trace: str


def run_apart(work: Callable[..., Result], *args: Any) -> Result:
    """Call a function in a fresh process, which ends with this one.

    Args:
        work: A function of a module.
        args: Its arguments; they are pickled, like what it returns or raises.

    Raises:
        LabelsegError: the process was killed.
        BaseException: what the function raised.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_do, args=(theirs, work, args), name="labelseg-apart")
    with uninterrupted():
        process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        raise LabelsegError(
            f"the process at work ended with code {process.exitcode}, as one that is killed does. "
            "What is finished stays, and a training goes on from its last checkpoint: run the same command again."
        ) from None
    except BaseException:
        process.terminate()
        raise
    finally:
        ours.close()
        process.join()
    if isinstance(found, _Failure):
        raise found.error from LabelsegError(f"in the process at work:\n{found.trace}")
    return found


def _do(connection: Connection, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Work, and tell what came of it."""
    threading.Thread(target=_end_with_the_caller, args=(connection,), daemon=True).start()
    try:
        found = work(*args)
    except BaseException as error:
        found = _Failure(portable(error), traceback.format_exc())
    connection.send(found)


def _end_with_the_caller(connection: Connection) -> None:
    """Wait for the other end, which never sends anything, to be closed."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)
