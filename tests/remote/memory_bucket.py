"""A bucket in memory that does what S3 does, and one that does something at a chosen request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from labelseg.pipeline.remote.bucket import Bucket, Listed


class MemoryBucket:
    """Objects in a dictionary; ``age`` dates what is written next that many hours back."""

    url = "s3://memory/w"

    def __init__(self) -> None:
        self.objects: MutableMapping[str, tuple[bytes, datetime]] = {}
        self.age = 0.0

    def get(self, name: str) -> tuple[bytes, str] | None:
        found = self.objects.get(name)
        return None if found is None else (found[0], etag(found[0]))

    def beginning(self, name: str, length: int) -> bytes:
        return self.objects[name][0][:length] if name in self.objects else b""

    def create(self, name: str, data: bytes) -> str | None:
        return None if name in self.objects else self.write(name, data)

    def replace(self, name: str, data: bytes, tag: str) -> str | None:
        return self.write(name, data) if name in self.objects and etag(self.objects[name][0]) == tag else None

    def list(self, prefix: str) -> Iterator[Listed]:
        found = sorted((name, value) for name, value in self.objects.items() if name.startswith(prefix))
        yield from (Listed(name, len(data), etag(data), when) for name, (data, when) in found)

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)

    def write(self, name: str, data: bytes) -> str:
        """Write whatever is there, as somebody else might."""
        self.objects[name] = data, datetime.now(UTC) - timedelta(hours=self.age)
        return etag(data)

    def names(self, prefix: str) -> list[str]:
        return [found.name for found in self.list(prefix)]

    def only(self, prefix: str) -> str:
        """The one object whose name begins so."""
        (name,) = self.names(prefix)
        return name


class FolderBucket(MemoryBucket):
    """The same in a folder, for processes that are forked; an object is whole or not there."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.objects = FolderObjects(folder)


class FolderObjects(MutableMapping):
    """Name -> bytes and date, each in a file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def __getitem__(self, name: str) -> tuple[bytes, datetime]:
        try:
            return (self._folder / quote(name, safe="")).read_bytes(), datetime.now(UTC)
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: tuple[bytes, datetime]) -> None:
        making = self._folder / "making"
        making.write_bytes(value[0])
        making.rename(self._folder / quote(name, safe=""))

    def __delitem__(self, name: str) -> None:
        (self._folder / quote(name, safe="")).unlink()

    def __iter__(self) -> Iterator[str]:
        return (unquote(path.name) for path in sorted(self._folder.iterdir()) if path.name != "making")

    def __len__(self) -> int:
        return len(list(iter(self)))


class WatchedBucket:
    """Passes requests on; before or after each it calls ``act`` with number, verb and name."""

    def __init__(self, bucket: Bucket, act: Callable[[str, int, str, str], None]) -> None:
        self.url = bucket.url
        self._bucket, self._act, self._count = bucket, act, 0

    def _do(self, verb: str, name: str, *values):
        self._count += 1
        number = self._count
        self._act("before", number, verb, name)
        found = getattr(self._bucket, verb)(name, *values)
        found = list(found) if verb == "list" else found
        self._act("after", number, verb, name)
        return found

    def get(self, name):
        return self._do("get", name)

    def beginning(self, name, length):
        return self._do("beginning", name, length)

    def create(self, name, data):
        return self._do("create", name, data)

    def replace(self, name, data, tag):
        return self._do("replace", name, data, tag)

    def list(self, prefix):
        return iter(self._do("list", prefix))

    def delete(self, name):
        return self._do("delete", name)


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
