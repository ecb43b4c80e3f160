"""Content digests of files, remembered as long as a file's size, modification time and inode stay the same."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from blake3 import blake3

from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind
from labelseg.pipeline.files.atomic import may_only_read, write_atomically
from labelseg.pipeline.files.digests import DIGEST_BYTES

FORMAT = 1
RACY_NS = 2_000_000_000
READ_BYTES = 1 << 20


class FileIndex:
    """Content digests of files, cached in a JSON file; losing that file costs time and nothing else."""

    def __init__(self, path: Path) -> None:
        """Open the index kept at ``path``; an absent or damaged one starts empty."""
        self.path = Path(path)
        self._from = os.path.join(os.getcwd(), "")
        self._changed = False
        self._entries = self._load()

    def digest(self, path: Path) -> str:
        """Digest the content of a file (32 hex characters), reading it only when it changed since the last time.

        Raises:
            DataError: there is no readable file at ``path``.
        """
        name = os.fspath(path)
        # Under one name from wherever labelseg is called; os.path.abspath would take as long as the lookup itself.
        name = name if os.path.isabs(name) else self._from + name
        try:
            found = _identity(os.stat(name))
            entry = self._entries.get(name)
            if isinstance(entry, list) and entry[:3] == found and _is_digest(entry[3:]):
                return entry[3]
            if kind := odd_kind(name):
                raise OSError(0, f"expected a file, found {kind}")
            content = self._hash(name)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}. Restore the file or remove it from the data.") from error
        return content

    def forget_missing(self) -> int:
        """Drop what is remembered of files that are gone; return of how many."""
        gone = [name for name in self._entries if not os.path.exists(name)]
        for name in gone:
            del self._entries[name]
        self._changed |= bool(gone)
        return len(gone)

    def save(self) -> None:
        """Write the index, in one step and only when it changed; who may only read the workspace goes without."""
        if self._changed:
            data = {"format": FORMAT, "files": self._entries}
            with may_only_read():
                write_atomically(self.path, json.dumps(data, separators=(",", ":")).encode())
            self._changed = False

    def _hash(self, name: str) -> str:
        """Hash a file and remember the digest, unless the file may still be changing."""
        hasher = blake3()
        with open(name, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            before = _identity(status)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "not a file")
            started = time.time_ns()
            while block := file.read(READ_BYTES):
                hasher.update(block)
            after = _identity(os.fstat(file.fileno()))
        content = hasher.hexdigest(length=DIGEST_BYTES)
        # A second write within the clock's grain would leave size and time as they are: such a record could lie for ever.
        if before == after and started - before[1] > RACY_NS:
            self._entries[name] = [*before, content]
            self._changed = True
        elif self._entries.pop(name, None) is not None:
            self._changed = True
        return content

    def _load(self) -> dict[str, list]:
        """Read the entries: path -> [size, mtime_ns, inode, digest]."""
        try:
            data = {} if odd_kind(self.path) else json.loads(self.path.read_bytes())
            return dict(data["files"]) if data["format"] == FORMAT else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}


def _is_digest(rest: list) -> bool:
    """Whether what follows the identity in an entry is a digest and nothing else."""
    return len(rest) == 1 and isinstance(rest[0], str) and len(rest[0]) == 2 * DIGEST_BYTES


def _identity(status: os.stat_result) -> list[int]:
    """What distinguishes one state of a file from another."""
    return [status.st_size, status.st_mtime_ns, status.st_ino]
