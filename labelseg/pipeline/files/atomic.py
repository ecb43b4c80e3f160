"""Files that appear whole or not at all, whatever kills the process or the machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelseg.asides.making import aside, clear_asides
from labelseg.file_kinds import naming


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, in place of one that may be there already; what killed processes left of it goes."""
    with _written_aside(path, data) as there:
        os.replace(there, path)
    sync_folder(path.parent)
    clear_asides(path.parent, path.name)


def write_if_absent(path: Path, data: bytes) -> bool:
    """Write a file unless there is one; return whether it was written. Of several writers exactly one succeeds."""
    if path.exists():
        return False
    with _written_aside(path, data) as there:
        try:
            os.link(there, path)
        except FileExistsError:
            return False
        except OSError:
            # Some file systems (exFAT, some network shares) know no hard links; there the workspace lock keeps writers apart.
            if path.exists():
                return False
            os.replace(there, path)
    sync_folder(path.parent)
    clear_asides(path.parent, path.name)
    return True


@contextmanager
def may_only_read() -> Iterator[None]:
    """Do without what only saves time later, where this user may not write or the disk is read-only."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder`` to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(os.path.join(parent, name), os.O_RDWR)
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, so that a rename in it outlives a power cut."""
    if os.name == "posix":
        _sync(os.fspath(folder), os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def _written_aside(path: Path, data: bytes) -> Iterator[Path]:
    """Write a synced file beside ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as there:
        with naming(path), there.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield there


def _sync(path: str, flags: int) -> None:
    """Flush one file or folder."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
