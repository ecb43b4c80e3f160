"""One writer at a time in a workspace."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from labelseg.errors import LabelsegError, LockedError
from labelseg.file_kinds import odd_kind
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.mishaps import explained

logger = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
_HELD: set[str] = set()  # the folders that this process holds


@contextmanager
def workspace_lock(root: Path, purpose: str, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the workspace for this process; the lock falls with the process, however that ends.

    Args:
        root: The ``.labelseg`` folder.
        purpose: What the lock is held for, such as ``labelseg run``; shown to others who find the workspace locked.
        wait: Seconds to wait for someone else who holds it; a warning tells whom. 0 waits for nobody.

    Raises:
        LockedError: someone else still holds it; the message names command, pid, host and since when.
        LabelsegError: the folder cannot be written to.
    """
    folder = Path(root) / "locks"
    # The note lies beside the lock file: on Windows nobody else can read a locked file.
    note = folder / "workspace.json"
    lock = FileLock(folder / "workspace.lock", timeout=0)
    with _told(root, purpose):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            _wait(lock, Path(root).parent, note, wait)
    _HELD.add(os.path.realpath(root))
    try:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        held = {"pid": os.getpid(), "command": purpose, "host": platform.node(), "since": since}
        with suppress(OSError):  # a full disk must not keep anyone from clearing it
            write_atomically(note, json.dumps(held).encode())
        yield
    finally:
        _HELD.discard(os.path.realpath(root))
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holds_workspace(root: Path) -> bool:
    """Whether this process holds the workspace already; see ``workspace_lock``."""
    return os.path.realpath(root) in _HELD


def _wait(lock: FileLock, workspace: Path, note: Path, seconds: float) -> None:
    """Wait for the lock, and tell for whom."""
    if seconds > 0:
        logger.warning("%s is in use by %s. Waiting up to %.0f s for it (--no-wait does not) ...", workspace, _holder(note), seconds)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise LockedError(f"{workspace} is in use by {_holder(note)}. Try again when it has ended.") from None


@contextmanager
def _told(root: Path, purpose: str) -> Iterator[None]:
    """Turn what the system refuses into one line."""
    try:
        yield
    except OSError as error:
        told = explained(error, purpose, Path(root))
        if told is None or told is error:
            raise
        raise LabelsegError(f"{told} {purpose} writes to {root}.") from error


def _holder(note: Path) -> str:
    """Say who holds the lock; the note may be missing for the moment in which the holder writes it."""
    try:
        held = {} if odd_kind(note) else json.loads(note.read_bytes())
        on = f" on {held['host']}" if "host" in held else ""
        return f"process {held['pid']}{on} ({held['command']}) since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
