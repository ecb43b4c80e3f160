"""Content digests of files, remembered as long as a file's size, modification time and inode stay the same."""

from __future__ import annotations

import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind
from labelseg.pipeline.files.atomic import may_only_read
from labelseg.pipeline.files.digests import DIGEST_BYTES
from labelseg.pipeline.files.file_table import Entry, FileTable

RACY_NS = 2_000_000_000
READ_BYTES = 1 << 20
MOST_NEW = 1 << 16  # digests are written before more than that wait to be


class FileDigests(ABC):
    """Something that digests the content of files."""

    def digest(self, path: str | os.PathLike[str]) -> str:
        """Digest the content of a file (32 hex characters).

        Raises:
            DataError: there is no readable file at ``path``.
        """
        (found,) = self.digests((os.fspath(path),))
        if isinstance(found, OSError):
            raise DataError(f"{path}: cannot be read: {found.strerror or found}. Restore the file or remove it from the data.") from found
        return found

    @abstractmethod
    def digests(self, names: Iterable[str]) -> Iterator[str | OSError]:
        """Digest the content of files; for each its digest, or why it has none."""


class FreshDigests(FileDigests):
    """Content digests of files, read each time: for who asks whether a file is still what it was."""

    def digests(self, names: Iterable[str]) -> Iterator[str | OSError]:
        """Digest the content of files; for each its digest, or why it has none."""
        for name in names:
            try:
                _refuse_odd(name)
                yield _hashed(name)[0]
            except OSError as error:
                yield error


class FileIndex(FileDigests):
    """Content digests of files, cached in JSON; losing that costs time and nothing else.

    Args:
        path: Where they are kept; what is absent or damaged counts as unknown.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._from = os.path.join(os.getcwd(), "")
        self._table = FileTable(self.path)

    def digests(self, names: Iterable[str]) -> Iterator[str | OSError]:
        """Digest the content of files, of each only when it changed since the last time, and quickest where their names come in order.

        Args:
            names: Paths.

        Returns:
            For each its digest, or why it has none.
        """
        start, digest_of, look_at, is_absolute = self._from, self._table.digest_of, os.stat, os.path.isabs
        for given in names:
            # Under one name from wherever labelseg is called; os.path.abspath would take as long as the lookup itself.
            name = given if given[:1] == "/" or is_absolute(given) else start + given
            try:
                status = look_at(name)
                found: str | OSError | None = digest_of(name, (status.st_size, status.st_mtime_ns, status.st_ino))
                if found is None:
                    _refuse_odd(name)
                    found = self._hash(name)
            except OSError as error:
                found = error
            yield found

    def forget_missing(self) -> int:
        """Drop what is remembered of files that are gone; return of how many."""
        gone = [name for name in self._table.unseen() if not os.path.exists(name)]
        for name in gone:
            self._table.set(name, None)
        return len(gone)

    def save(self) -> None:
        """Write the index, in one step and only when it changed; who may only read the workspace goes without."""
        with may_only_read():
            self._table.save()

    def _hash(self, name: str) -> str:
        """Hash a file and remember the digest, unless the file may still be changing."""
        started = time.time_ns()
        content, before, is_same = _hashed(name)
        # A second write within the clock's grain would leave size and time as they are: such a record could lie for ever.
        is_settled = is_same and started - before[1] > RACY_NS
        self._table.set(name, Entry(*before, content) if is_settled else None)
        if self._table.waiting >= MOST_NEW:
            with suppress(OSError):  # what cannot be kept is computed again
                self.save()
        return content


def _refuse_odd(name: str) -> None:
    """Refuse what is no file before it is opened."""
    if kind := odd_kind(name):
        raise OSError(0, f"expected a file, found {kind}")


def _hashed(name: str) -> tuple[str, tuple[int, int, int], bool]:
    """Read a file: its digest, what distinguished its state before, and whether that was so afterwards."""
    hasher = blake3()
    with open(name, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a file")
        while block := file.read(READ_BYTES):
            hasher.update(block)
        after = os.fstat(file.fileno())
    return hasher.hexdigest(length=DIGEST_BYTES), _identity(status), _identity(status) == _identity(after)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """What distinguishes one state of a file from another."""
    return status.st_size, status.st_mtime_ns, status.st_ino
