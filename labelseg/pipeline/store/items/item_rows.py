"""One item as a manifest names it, and the items of one leaf, column by column."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

from labelseg.pipeline.files.paths import climbing, is_key
from labelseg.pipeline.lazy_rows import LazyRows

WIDTH = 32  # characters of a key, a part id or a digest


class ManifestItem(NamedTuple):
    """Where one item lies: its id, its key, part and index in the part, and the digest of its arrays."""

    id: str
    key: str
    part: str
    index: int  # type: ignore[assignment]
    digest: str


class ItemLeaf(NamedTuple):
    """A leaf as its manifest lists it: id of the first item, number of items, digest of the file."""

    first: str
    count: int  # type: ignore[assignment]
    digest: str


class LeafRows(LazyRows[ManifestItem]):
    """The items of one leaf, column by column.

    Args:
        values: What the file holds: ``ids``; ``keys`` and ``digests`` end to end; ``parts``; of each item which part and ``index``.

    Raises:
        ValueError, KeyError, TypeError: it is no leaf of items.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.ids: list[str] = values["ids"]
        self.keys: str = values["keys"]
        self.digests: str = values["digests"]
        self.parts: list[str] = values["parts"]
        self._part: list[int] = values["part"]
        self._index: list[int] = values["index"]
        lengths = {len(self.ids), len(self._part), len(self._index), len(self.keys) / WIDTH, len(self.digests) / WIDTH}
        if len(lengths) != 1 or not all(map(is_key, self.parts)) or {*map(type, self._part), *map(type, self._index)} - {int}:
            raise ValueError("it is no leaf of items")
        if any(not 0 <= part < len(self.parts) for part in {*self._part}) or {*map(type, self.ids)} - {str}:
            raise ValueError("it is no leaf of items")
        if climbing(self.ids):
            raise ValueError(f"the item '{climbing(self.ids)}' would lead out of a folder")

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, k: int) -> ManifestItem:
        """Put the item at a place together."""
        at = slice(k * WIDTH, (k + 1) * WIDTH)
        return ManifestItem(self.ids[k], self.keys[at], self.parts[self._part[k]], self._index[k], self.digests[at])

    def __iter__(self) -> Iterator[ManifestItem]:
        parts = [self.parts[part] for part in self._part]
        columns = self.ids, pieces(self.keys), parts, self._index, pieces(self.digests)
        return map(ManifestItem._make, zip(*columns, strict=True))

    def find(self, item_id: str) -> ManifestItem | None:
        """Look an item up by its id."""
        k = bisect_left(self.ids, item_id)
        return self[k] if k < len(self) and self.ids[k] == item_id else None


def pieces(text: str) -> list[str]:
    """Take keys or digests apart that stand end to end."""
    return [text[k : k + WIDTH] for k in range(0, len(text), WIDTH)]
