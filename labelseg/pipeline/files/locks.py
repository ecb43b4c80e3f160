"""One writer at a time in a workspace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from labelseg.errors import LockedError
from labelseg.pipeline.files.atomic import write_atomically


@contextmanager
def workspace_lock(root: Path, purpose: str) -> Iterator[None]:
    """Hold the workspace for this process; the lock falls with the process, however that ends.

    Args:
        root: The ``.labelseg`` folder.
        purpose: What the lock is held for, such as ``labelseg run``; told to whoever finds the workspace locked.

    Raises:
        LockedError: someone else holds it; the message names pid, command and since when.
    """
    folder = Path(root) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # The note lies beside the lock file: on Windows nobody else can read a locked file.
    note = folder / "workspace.json"
    lock = FileLock(folder / "workspace.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(f"{Path(root).parent} is in use by {_holder(note)}. Try again when it has ended.") from None
    try:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        with suppress(OSError):  # a full disk must not keep anyone from clearing it
            write_atomically(note, json.dumps({"pid": os.getpid(), "command": purpose, "since": since}).encode())
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _holder(note: Path) -> str:
    """Say who holds the lock; the note may be missing for the moment in which the holder writes it."""
    try:
        held = json.loads(note.read_bytes())
        return f"process {held['pid']} ({held['command']}) since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
