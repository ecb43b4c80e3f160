"""What is asked of an object store: whole objects, by name, with a condition on every write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, Protocol


class Listed(NamedTuple):
    """An object as a listing tells of it; the tag changes with its content."""

    name: str
    size: int
    etag: str
    modified: datetime


class Bucket(Protocol):
    """Objects below one URL. Every call may raise ``UnreachableError``."""

    url: str

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Read an object and its tag; None when there is none."""

    def beginning(self, name: str, length: int) -> bytes:
        """Read the first bytes of an object; nothing when there is none."""

    def create(self, name: str, data: bytes) -> str | None:
        """Write an object that is not there yet and return its tag; None when there is one, which stands."""

    def replace(self, name: str, data: bytes, etag: str) -> str | None:
        """Write an object in place of the one of this tag and return the new tag; None when it is another one by now, or gone."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """List the objects of which the name begins with a prefix, sorted; it ends in ``/``, or is empty."""

    def delete(self, name: str) -> None:
        """Remove an object; nothing where there is none."""
