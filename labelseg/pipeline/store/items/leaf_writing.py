"""Writes the items of a large artifact into leaves; those that stay as they are are taken over by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labelseg.pipeline.files.leaves import begins_leaf, cut, is_large, rises, write_leaf
from labelseg.pipeline.files.paths import is_key
from labelseg.pipeline.store.items.item_rows import ItemLeaf, ManifestItem
from labelseg.pipeline.store.items.leaf_items import FOLDER, LeafItems

MOST_WAITING = 1 << 14  # items that wait for the end of their leaf


def takes_leaves(items: Sequence[ManifestItem]) -> bool:
    """Whether items are many, sorted by ids that are all different, and of the form that leaves hold; tensors of a model need not be."""
    if not is_large(len(items)) or isinstance(items, LeafItems):
        return False
    return rises([item.id for item in items]) and all(is_key(text) for item in items for text in (item.key, item.digest))


def write_items(root: Path, stage: str, items: Sequence[ManifestItem]) -> list[ItemLeaf]:
    """Write sorted items into leaves; equal ones that are there stand."""
    folder = root / FOLDER / stage
    return [write_rows(folder, items[start:stop]) for start, stop in cut([item.id for item in items])]


def write_merged(items: LeafItems, segments: Iterable[ItemLeaf | list[ManifestItem]]) -> LeafItems:
    """Write items in order, some of which lie in leaves already; the leaves are those that all items would have been cut into at once.

    Args:
        items: What the leaves that are taken over belong to.
        segments: Leaves to take over, and lists of items between them.
    """
    done: list[ItemLeaf] = []
    waiting: list[ManifestItem] = []  # the last leaf may grow until one begins
    last: ItemLeaf | None = None  # one that was taken over, likewise

    def settle(*, end: bool) -> None:
        """Write what is complete: all but the last leaf, or all."""
        nonlocal waiting, last
        if last is not None and end:
            done.append(last)
            last = None
        if end or len(waiting) > MOST_WAITING:
            pieces = [waiting[start:stop] for start, stop in cut([item.id for item in waiting])]
            waiting = [] if end else pieces.pop()
            done.extend(write_rows(items.folder, piece) for piece in pieces)

    for segment in segments:
        if isinstance(segment, ItemLeaf) and (begins_leaf(segment.first) or not (done or waiting or last)):
            settle(end=True)
            last = segment
            continue
        rows = list(items.rows(segment)) if isinstance(segment, ItemLeaf) else segment
        if rows and last is not None:
            if begins_leaf(rows[0].id):
                settle(end=True)
            else:
                waiting, last = list(items.rows(last)), None
        waiting += rows
        settle(end=False)
    settle(end=True)
    return items.of(done)


def write_rows(folder: Path, items: Sequence[ManifestItem]) -> ItemLeaf:
    """Write the items of one leaf."""
    return ItemLeaf(items[0].id, len(items), write_leaf(folder, _rows_json(items)))


def _rows_json(items: Sequence[ManifestItem]) -> dict[str, Any]:
    """Turn the items of one leaf into what its file holds."""
    parts = {part: number for number, part in enumerate(dict.fromkeys(item.part for item in items))}
    return {
        "ids": [item.id for item in items],
        "keys": "".join(item.key for item in items),
        "digests": "".join(item.digest for item in items),
        "parts": list(parts),
        "part": [parts[item.part] for item in items],
        "index": [item.index for item in items],
    }
