"""Content digests of the data, each looked up once."""

from __future__ import annotations

from dataclasses import dataclass, field

from labelseg.errors import DataError
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.protocols import Dataset, Kind

ABSENT = "absent"
UNREADABLE = "unreadable"


@dataclass
class DataDigests:
    """Content digests of the data, each looked up once."""

    dataset: Dataset
    index: FileIndex
    _items: dict[tuple[str, str], str] = field(default_factory=dict)
    _splits: dict[tuple[str, tuple[Kind, ...]], str] = field(default_factory=dict)
    _ids: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def ids(self, split: str) -> tuple[str, ...]:
        """List the images of a split."""
        if split not in self._ids:
            self._ids[split] = tuple(self.dataset.ids(split))
        return self._ids[split]

    def item(self, image_id: str, kind: Kind) -> str:
        """Digest the image, the tags or the mask of one image; ``absent`` where it has none, ``unreadable`` where its file cannot be read.

        Raises:
            DataError: the table or the folder that would tell is wrong.
        """
        name = (image_id, kind)
        if name not in self._items:
            self._items[name] = self._digest(image_id, kind)
        return self._items[name]

    def _digest(self, image_id: str, kind: Kind) -> str:
        if not self.dataset.has(image_id, kind):
            return ABSENT
        identity = self.dataset.identity(image_id, kind)
        if isinstance(identity, str):
            return digest("text", identity)
        try:
            if isinstance(identity, tuple):
                path, read_as = identity
                return digest("read as", self.index.digest(path), read_as)
            return self.index.digest(identity)
        except DataError:
            return UNREADABLE  # an item that reads it fails by itself, and the others are computed

    def split(self, split: str, kinds: tuple[Kind, ...]) -> str:
        """Digest the ordered images of a split with the kinds of data that matter."""
        name = (split, kinds)
        if name not in self._splits:
            rows = (text for i in self.ids(split) for text in (i, *(self.item(i, kind) for kind in kinds)))
            self._splits[name] = digest(*kinds, *rows)
        return self._splits[name]
