"""Counting the file operations of a process, and ending or starving it at one of them.

Operations are seen by an audit hook (opening for writing, renaming, linking, removing, making folders) and by standing in for
``os.fsync``, which then only counts: what is tried here is the death of processes, not of machines.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Operations:
    """The file operations of this process below a folder, from now on; there is no way back, so use it in a fork.

    Args:
        folder: Operations elsewhere do not count.
        at: Which operation to disturb, from 1; 0 for none.
        disturb: What to do at it; an error it raises is what the operation gives.
        repeat: Whether to disturb all that follow as well.
    """

    def __init__(self, folder: Path, at: int = 0, disturb: Callable[[str], None] | None = None, *, repeat: bool = False) -> None:
        self.count = 0
        self._folder = os.path.realpath(folder)
        self._at, self._disturb, self._repeat = at, disturb, repeat
        self._inside = False
        os.fsync = self._synced
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if not (flags or 0) & WRITING and not set(mode or "") & set("wxa+"):
                return
            self._count(f"open {path}", path)
        elif event in CHANGES:
            self._count(f"{event} {arguments[0]}", arguments[0])

    def _synced(self, descriptor: int) -> None:
        self._count("fsync", None)

    def _count(self, name: str, path: Any) -> None:
        if self._inside or isinstance(path, int):
            return
        self._inside = True
        try:
            within = path is None or os.path.abspath(os.fsdecode(path)).startswith(self._folder)
        finally:
            self._inside = False
        if not within:
            return
        self.count += 1
        if self._disturb is not None and self._at and (self.count == self._at or (self._repeat and self.count > self._at)):
            self._disturb(name)


def die(name: str) -> None:
    """End this process as a kill does."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(name: str) -> None:
    """Do to this process what Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)


def terminate(name: str) -> None:
    """Do to this process what schedulers do."""
    os.kill(os.getpid(), signal.SIGTERM)


def no_space(name: str) -> None:
    """Say that the disk is full, to whatever would write; removing goes on."""
    if name.startswith(("open", "os.mkdir", "os.link", "fsync")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def limit_file_size(size: int, *, kill: bool) -> None:
    """Let no file grow over a size: a write that would gives an error, or ends the process with half of it written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
