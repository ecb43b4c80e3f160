"""Content digests of the data, each looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from labelseg.errors import DataError
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.fingerprint import FileIndex

ABSENT = "absent"


UNREADABLE = "unreadable"


class DataSource(Protocol):
    """What the pipeline needs of a dataset to tell whether it changed."""

    @property
    def classes(self) -> Sequence[str]: ...
    def ids(self, split: str) -> Sequence[str]: ...
    def identity(self, image_id: str, kind: str) -> Path | str: ...
    def has(self, image_id: str, kind: str) -> bool: ...


@dataclass
class DataDigests:
    """Content digests of the data, each looked up once."""

    dataset: DataSource
    index: FileIndex
    _items: dict[tuple[str, str], str] = field(default_factory=dict)
    _splits: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)
    _ids: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def ids(self, split: str) -> tuple[str, ...]:
        """List the images of a split."""
        if split not in self._ids:
            self._ids[split] = tuple(self.dataset.ids(split))
        return self._ids[split]

    def item(self, image_id: str, kind: str) -> str:
        """Digest the image, the tags or the mask of one image; ``absent`` where it has none, ``unreadable`` where its file cannot be read.

        Raises:
            DataError: the table or the folder that would tell is wrong.
        """
        name = (image_id, kind)
        if name not in self._items:
            self._items[name] = self._digest(image_id, kind)
        return self._items[name]

    def _digest(self, image_id: str, kind: str) -> str:
        if not self.dataset.has(image_id, kind):
            return ABSENT
        identity = self.dataset.identity(image_id, kind)
        if isinstance(identity, str):
            return digest("text", identity)
        try:
            return self.index.digest(identity)
        except DataError:
            return UNREADABLE  # an item that reads it fails by itself, and the others are computed

    def split(self, split: str, kinds: tuple[str, ...]) -> str:
        """Digest the ordered images of a split with the kinds of data that matter."""
        name = (split, kinds)
        if name not in self._splits:
            rows = (text for i in self.ids(split) for text in (i, *(self.item(i, kind) for kind in kinds)))
            self._splits[name] = digest(*kinds, *rows)
        return self._splits[name]
