"""The items of a large artifact, in leaves: files of some thousand items each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from labelseg.errors import ArtifactError, DamageError
from labelseg.pipeline.files.digests import Digesting
from labelseg.pipeline.files.leaves import is_intact, leaf_path, read_leaf
from labelseg.pipeline.files.paths import is_key
from labelseg.pipeline.lazy_rows import LazyRows
from labelseg.pipeline.store.items.item_rows import ItemLeaf, LeafRows, ManifestItem, pieces
from labelseg.pipeline.store.records import repair

FOLDER = "leaves"
HELD = 2  # leaves in memory
MOST_ITEMS = 1 << 32  # of a leaf that a record may speak of


class LeafItems(LazyRows[ManifestItem]):
    """All items of a manifest, sorted by their ids; two leaves are in memory at a time.

    Args:
        root: The ``.labelseg`` folder.
        stage: Name of the stage.
        leaves: As the manifest lists them.
    """

    def __init__(self, root: Path, stage: str, leaves: Iterable[ItemLeaf]) -> None:
        self.leaves = tuple(leaves)
        self.folder = root / FOLDER / stage
        self._stage = stage
        self._held: dict[str, LeafRows] = {}

    def __len__(self) -> int:
        return self._stops[-1] if self.leaves else 0

    def row(self, k: int) -> ManifestItem:
        """Read the item at a place."""
        at = bisect_right(self._stops, k)
        leaf = self.leaves[at]
        return self.rows(leaf)[k - self._stops[at] + leaf.count]

    def __iter__(self) -> Iterator[ManifestItem]:
        return chain.from_iterable(map(self.rows, self.leaves))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LeafItems):
            return self.leaves == other.leaves
        return isinstance(other, list) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def find(self, item_id: str) -> ManifestItem | None:
        """Look an item up by its id."""
        leaf = self.leaf_of(item_id)
        return None if leaf is None else self.rows(leaf).find(item_id)

    def leaf_of(self, item_id: str) -> ItemLeaf | None:
        """Find the leaf in which an item would lie; None before the first."""
        k = bisect_right(self._firsts, item_id) - 1
        return self.leaves[k] if k >= 0 else None

    def stretches(self, ids: Sequence[str]) -> Iterator[tuple[int, int, ItemLeaf]]:
        """Cut sorted ids where leaves begin: (start, stop) of those that lie, or would, in a leaf, and the leaf."""
        start = 0
        for k, leaf in enumerate(self.leaves):
            stop = bisect_left(ids, self._firsts[k + 1], start) if k + 1 < len(self.leaves) else len(ids)
            yield start, stop, leaf
            start = stop

    def summary(self) -> tuple[str, list[str]]:
        """Digest the ordered pairs of id and content digest, and list the parts in the order of the items, reading each leaf once."""
        parts: dict[str, None] = {}
        digesting = Digesting()
        for leaf in self.leaves:
            rows = self.rows(leaf)
            parts |= dict.fromkeys(rows.parts)
            digesting.take_rows(rows.ids, pieces(rows.digests))
        return digesting.digest(), list(parts)

    def of(self, leaves: Iterable[ItemLeaf]) -> LeafItems:
        """Make the items of other leaves in the same folder."""
        return LeafItems(self.folder.parent.parent, self._stage, leaves)

    def path(self, leaf: ItemLeaf) -> Path:
        """Where a leaf lies."""
        return leaf_path(self.folder, leaf.digest)

    def rows(self, leaf: ItemLeaf) -> LeafRows:
        """Read the items of a leaf.

        Raises:
            ArtifactError: it cannot be read at this moment.
            DamageError: it is missing, or not what was written.
        """
        if leaf.digest not in self._held:
            path = self.path(leaf)
            try:
                rows = LeafRows(read_leaf(path))
                if (rows.ids[0], len(rows)) != leaf[:2]:
                    raise ValueError("it is another leaf than its manifest names")
            except (FileNotFoundError, NotADirectoryError) as error:
                raise DamageError(f"{path} is missing. {repair(self._stage)}") from error
            except OSError as error:
                raise ArtifactError(f"{path} cannot be read: {error.strerror}. See that it can, then try again.") from error
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
                raise DamageError(f"{path} is damaged: {error or type(error).__name__}. {repair(self._stage)}") from error
            while len(self._held) >= HELD:
                del self._held[next(iter(self._held))]
            self._held[leaf.digest] = rows
        return self._held[leaf.digest]

    def demand_intact(self) -> None:
        """See that every leaf is what was written, without looking at what it says.

        Raises:
            ArtifactError, DamageError: as ``rows``.
        """
        for leaf in self.leaves:
            try:
                is_sound = is_intact(self.path(leaf))
            except OSError:
                is_sound = False
            if not is_sound:
                self.rows(leaf)  # tells what is wrong

    @cached_property
    def _stops(self) -> list[int]:
        return list(accumulate(leaf.count for leaf in self.leaves))

    @cached_property
    def _firsts(self) -> list[str]:
        return [leaf.first for leaf in self.leaves]


def read_leaves(values: list[Any]) -> list[ItemLeaf]:
    """Read what a manifest lists.

    Raises:
        ValueError, TypeError: these are no leaves.
    """
    leaves = [ItemLeaf(*value) for value in values]
    if any(list(map(type, leaf)) != [str, int, str] or not 0 < leaf.count <= MOST_ITEMS or not is_key(leaf.digest) for leaf in leaves):
        raise ValueError("it lists what is no leaf")
    return leaves
