"""What this folder last saw of the refs in the store, ``remote.json``: with it, what changed here is told from what changed there.

It is no truth: where it is gone or damaged, both sides are compared by what they hold.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import may_only_read, write_atomically
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal

FILE = "remote.json"
DROPPED = ""  # the digest of a ref that was removed here on purpose, and there stays


class Seen(NamedTuple):
    """A ref as both sides had it: its tag in the store, and the digest of its file here."""

    etag: str
    digest: str


class LastSeen:
    """The refs of a store as they were last seen.

    Args:
        root: The ``.labelseg`` folder.
        url: Of the store; what was seen of another one does not count.

    Attributes:
        url: Of the store that the record is of; empty where there is none.
    """

    def __init__(self, root: Path, url: str) -> None:
        self._path = root / FILE
        self._now = url
        self.url = ""
        self._refs: dict[str, Seen] = {}
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            data = read_file(self._path)
            intact_seal(data)
            values = json.loads(data)
            self.url = str(values["url"])
            if self.url == url:
                self._refs = {str(name): Seen(*map(str, seen)) for name, seen in values["refs"].items()}

    def __getitem__(self, name: str) -> Seen | None:
        return self._refs.get(name)

    @property
    def names(self) -> set[str]:
        """Names of all refs that were seen."""
        return {*self._refs}

    def put(self, name: str, seen: Seen | None) -> None:
        """Note what is there now; None where there is nothing any more."""
        if seen is None:
            self._refs.pop(name, None)
        else:
            self._refs[name] = seen

    def save(self) -> None:
        """Write the record."""
        values = {"url": self._now, "refs": dict(sorted(self._refs.items())), "seal": BLANK}
        with may_only_read():
            write_atomically(self._path, seal(json.dumps(values).encode()))
        self.url = self._now
