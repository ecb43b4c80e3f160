"""Content digests of the data, each looked up once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from labelseg.errors import DataError
from labelseg.pipeline.files.digests import PIECES, DigestColumn, Digesting, digest
from labelseg.pipeline.files.fingerprint import FileDigests
from labelseg.protocols import Dataset, Kind

ABSENT = "absent"
UNREADABLE = "unreadable"


@dataclass
class DataDigests:
    """Content digests of the data; those of a whole split are looked up once."""

    dataset: Dataset
    index: FileDigests
    _columns: dict[tuple[str, str], DigestColumn] = field(default_factory=dict)
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

    def column(self, split: str, kind: Kind) -> DigestColumn:
        """Digest the image, the tags or the mask of every image of a split, in the order of ``ids``; see ``item``."""
        name = (split, kind)
        if name not in self._columns:
            files = self.dataset.image_files(self.ids(split)) if kind == "image" else None
            if files is None:
                texts: Iterable[str] = (self.item(image_id, kind) for image_id in self.ids(split))
            else:
                texts = (UNREADABLE if isinstance(found, OSError) else found for found in self.index.digests(files))
            self._columns[name] = DigestColumn(texts)
        return self._columns[name]

    def split(self, split: str, kinds: tuple[Kind, ...]) -> str:
        """Digest the ordered images of a split with the kinds of data that matter."""
        name = (split, kinds)
        if name not in self._splits:
            ids, columns = self.ids(split), [self.column(split, kind) for kind in kinds]
            digesting = Digesting()
            digesting.take(kinds)
            for start in range(0, len(ids), PIECES):
                digesting.take_rows(*(column[start : start + PIECES] for column in (ids, *columns)))
            self._splits[name] = digesting.digest()
        return self._splits[name]
