"""What stands at a path, for opening a pipe waits for ever and a device may do anything; and which file an error is of."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

ATTEMPTS = 5  # to read a file that changes meanwhile
PAUSE_SECONDS = 0.05
LINK = "it is a link, and nothing is appended to what it leads to: put the file itself there, or link its folder"


def odd_kind(path: str | os.PathLike[str]) -> str:
    """Name what stands at a path in place of a file; links are followed.

    Returns:
        ``a folder``, ``a named pipe``, ``a socket`` or ``a device``; empty for a file, and where nothing is found out, which opening tells.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "")


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a whole file; what is none is not opened: a named pipe would wait for ever. One that changes meanwhile is read again.

    Raises:
        OSError: it cannot be read, is no file, or does not come to rest.
    """
    demand_file(path)
    for attempt in range(ATTEMPTS):
        with open(path, "rb", buffering=0) as file:
            before = _state(file)
            data = file.readall()
            if _state(file) == before:
                return data
        time.sleep(PAUSE_SECONDS * attempt)
    raise OSError(errno.EBUSY, "it changes while it is read; try again when it is at rest", os.fspath(path))


def _state(file: FileIO) -> tuple[int, int]:
    """What changes when something is written to a file: its size and the time of its last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def demand_file(path: str | os.PathLike[str]) -> None:
    """Refuse what stands in place of a file.

    Raises:
        OSError: it is no file.
    """
    if kind := odd_kind(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))


def open_to_append(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to append to it, and to read it; it is made where there is none. A link is not followed: what it leads to is not ours.

    Raises:
        OSError: it cannot be opened, or is a link or no file.
    """
    if os.path.islink(path):
        raise OSError(errno.ELOOP, LINK, os.fspath(path))
    demand_file(path)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return open(os.open(path, flags, 0o666), "ab+", buffering=0)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have an error of the system name a file, which it does where one is opened but not where one is written."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = os.fspath(path)
        raise
