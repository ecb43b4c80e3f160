"""Files that appear whole or not at all, whatever kills the process or the machine."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from labelseg.file_kinds import naming


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, in place of one that may be there already."""
    aside = _write_aside(path, data)
    try:
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_if_absent(path: Path, data: bytes) -> bool:
    """Write a file unless there is one; return whether it was written. Of several writers exactly one succeeds."""
    if path.exists():
        return False
    aside = _write_aside(path, data)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError:
        # Some file systems (exFAT, some network shares) know no hard links; there the workspace lock keeps writers apart.
        if path.exists():
            return False
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


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


def _write_aside(path: Path, data: bytes) -> Path:
    """Write a synced file beside ``path`` under a name of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may have 255 bytes; that of the file is there for people, and cut.
    aside = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")
    try:
        with naming(path), aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return aside


def _sync(path: str, flags: int) -> None:
    """Flush one file or folder."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
