"""Files and folders in the making: under a name of their own beside the place they will have, so that nothing there is ever half written.

Whoever makes one holds a lock on it, so that what a killed process left can be told from what another one is making, and removed.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing is removed
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.(.{0,40})\.[0-9a-f]{32}\.tmp", re.DOTALL)
_SHOWN = 40  # a name may have 255 bytes; that of the goal is there for people, and cut


@contextmanager
def aside(goal: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make an empty file, or a folder, beside the place that it will have; what is still there at the end goes.

    Args:
        goal: Where it will be; its folder must be there.
        folder: Make a folder.

    Raises:
        OSError: it cannot be made; the error names the goal.
    """
    path, held = _made(goal, folder)
    try:
        yield path
    finally:
        _remove(path)
        if held is not None:
            os.close(held)


@contextmanager
def replacing(goal: Path) -> Iterator[Path]:
    """Make a file that takes the place of ``goal`` once all went well; what killed processes left of it goes."""
    with aside(goal) as there:
        yield there
        there.replace(goal)
    clear_asides(goal.parent, goal.name)


def clear_asides(folder: Path, name: str | None = None) -> int:
    """Remove what processes that were killed have left in a folder; what somebody is making stays.

    Args:
        folder: Where to look; nothing is wrong with one that is not there.
        name: Of the goal; None means all.

    Returns:
        How many files and folders went.
    """
    count = 0
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _NAME.fullmatch(entry.name)
            if found and (name is None or found[1] == name[:_SHOWN]):
                count += _cleared(Path(entry.path))
    return count


def is_held(path: Path) -> bool:
    """Whether somebody is making a file or folder right now, as far as locks tell."""
    with _tried(path) as lock:
        return isinstance(lock, BlockingIOError)


def _made(goal: Path, folder: bool) -> tuple[Path, int | None]:
    """Make one and lock it; one that somebody took for a leftover before it was locked is made again."""
    while True:
        path = goal.with_name(f".{goal.name[:_SHOWN]}.{uuid.uuid4().hex}.tmp")
        try:
            if folder:
                path.mkdir()
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            error.filename = os.fspath(goal)
            raise
        if fcntl is None:
            return path, None
        try:
            held = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        with suppress(OSError):  # a file system without locks: there nobody can lock it to remove it
            fcntl.flock(held, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(held)):
                return path, held
        os.close(held)


def _cleared(path: Path) -> bool:
    """Remove one unless somebody holds it."""
    with _tried(path) as lock:
        if lock is not None:
            return False
        try:
            _remove(path)
        except OSError:
            return False
    return True


@contextmanager
def _tried(path: Path) -> Iterator[OSError | None]:
    """Try to lock a file or folder for a while; give None where that went well, else why it did not."""
    if fcntl is None:
        yield OSError("nothing is locked here")
        return
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        yield error
        return
    try:
        refusal = None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            refusal = error
        yield refusal
    finally:
        os.close(held)


def _remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
