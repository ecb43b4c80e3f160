"""Keys: digests that say by which code, from which parameters and from which inputs an artifact was made."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from labelseg.errors import ArtifactError
from labelseg.pipeline.declare.stage import Stage, enters_key, key_name
from labelseg.pipeline.files.digests import DIGEST_BYTES, DIGEST_CHARACTERS, PIECES, DigestColumn, canonical_json, digest
from labelseg.pipeline.files.leaves import rises
from labelseg.pipeline.store.items.item_rows import ItemLeaf, LeafRows
from labelseg.pipeline.store.items.leaf_items import LeafItems


def params_json(params: Any) -> dict[str, Any]:
    """Turn a params dataclass into what a manifest holds of it: a dict after a JSON round trip, tuples as lists."""
    return json.loads(canonical_json(asdict(params)))


def key_params(stage: Stage, params: Any, fingerprint: Callable[[Path], str], root: Path | None = None) -> dict[str, Any]:
    """List the parameters that enter a key, by the names they go by there.

    Sources, splits, folders of files and what has no effect are left out; the digest of its content stands in place of a file's path.

    Args:
        stage: The stage that ``params`` belong to.
        params: Instance of ``stage.params``.
        fingerprint: Content digest of a file, such as ``FileIndex.digest``.
        root: Folder that relative paths start from; None is the current folder. A value that names no file there stands as it is.
    """
    values, found = params_json(params), {}
    for declared in fields(stage.params):
        if {"source", "split", "folder"} & declared.metadata.keys() or not enters_key(declared, params):
            continue
        value = values[declared.name]
        if "file" in declared.metadata and value:
            path = (root or Path()) / Path(value).expanduser()
            value = f"blake3:{fingerprint(path)}" if path.is_file() else value
        found[key_name(declared)] = value
    return found


def item_key(stage: str, version: int, params: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Digest what one item of a map stage is computed from.

    Args:
        stage: Name of the stage.
        version: Version of the stage.
        params: As ``key_params`` returns them.
        inputs: Kind of data or role of a source -> content digest.
    """
    return digest("item", canonical_json([stage, version, dict(params), dict(inputs)]))


class ItemKeys:
    """Makes the keys of many items of a map stage, as ``item_key`` does and some five times faster: what they share is written once.

    Args:
        stage, version, params: As for ``item_key``.
        shared: The inputs that are the same for all items.
    """

    def __init__(self, stage: str, version: int, params: Mapping[str, Any], shared: Mapping[str, str]) -> None:
        self._way = stage, version, params
        self._shared = shared
        self._start = canonical_json([stage, version, dict(params)])[:-1].decode()
        self._forms: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}

    def key(self, inputs: Mapping[str, str]) -> str:
        """Digest what one item is computed from.

        Args:
            inputs: What it reads, in addition to what all share; wins over that.
        """
        names = tuple(inputs)
        if names not in self._forms:
            self._forms[names] = self._form(names)
        form, order = self._forms[names]
        values = tuple([inputs[name] for name in order])
        if not all(map(_is_plain, values)):
            return item_key(*self._way, {**self._shared, **inputs})
        return digest("item", (form % values).encode("ascii"))

    def column(self, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """Digest what each of many items is computed from.

        Args:
            columns: Kind of data or role -> digest for each item.
        """
        form, order = self._form(tuple(columns))
        framed = f"s4:itemb{len(form % (('0' * DIGEST_CHARACTERS,) * len(order)))}:{form}"  # as ``digest`` does, in one call
        for start in range(0, len(columns[order[0]]) if order else 0, PIECES):
            batch = [columns[name][start : start + PIECES] for name in order]
            rows = zip(*batch, strict=True)
            if all({*map(len, column)} == {DIGEST_CHARACTERS} and _is_plain("".join(column)) for column in batch):
                yield from [blake3((framed % values).encode("ascii")).hexdigest(length=DIGEST_BYTES) for values in rows]
            else:
                yield from [self.key(dict(zip(order, values, strict=True))) for values in rows]

    def _form(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Write the JSON of an item that reads these, with a gap for each digest, and the order of the gaps."""
        order = tuple(sorted(names))
        everything = {name: canonical_json(value).decode().replace("%", "%%") for name, value in self._shared.items()}
        everything |= dict.fromkeys(order, '"%s"')
        fields = (f"{canonical_json(name).decode().replace('%', '%%')}:{everything[name]}" for name in sorted(everything))
        return f"{self._start.replace('%', '%%')},{{{','.join(fields)}}}]", order


class KeyTable(Mapping[str, str]):
    """Id -> key, of many items in order.

    Args:
        ids: All different.
        keys: The key of each.
    """

    def __init__(self, ids: Sequence[str], keys: Iterable[str]) -> None:
        self.ids = ids
        self.keys_in_order = DigestColumn(keys)
        self.same: dict[tuple[int, int, str], list[str]] = {}  # leaves found to hold these very items, and the parts they lie in
        self._next = 0

    def __getitem__(self, item_id: str) -> str:
        place = self._next  # most often they are asked for in order
        if not (place < len(self.ids) and self.ids[place] == item_id):
            place = bisect_left(self.ids, item_id) if self.is_sorted else self._places.get(item_id, len(self.ids))
            if place == len(self.ids) or self.ids[place] != item_id:
                raise KeyError(item_id)
        self._next = place + 1
        return self.keys_in_order[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def is_sorted(self) -> bool:
        """Whether ids come in their order."""
        return rises(self.ids)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item_id: place for place, item_id in enumerate(self.ids)}


class Stretch(NamedTuple):
    """Items in order, and the leaf of an artifact made before in which they lie, or would.

    Attributes:
        start, stop: Places of the items.
        leaf: The leaf.
        rows: What it holds; None where it holds these very items under these very keys, and where it cannot be read.
        is_same: Whether it holds these very items under these very keys.
        parts: The parts that they lie in, where that is so.
    """

    start: int
    stop: int
    leaf: ItemLeaf
    rows: LeafRows | None
    is_same: bool
    parts: Sequence[str] = ()


def compare(keys: KeyTable, items: LeafItems) -> Iterator[Stretch]:
    """Compare items with those of an artifact made before, leaf by leaf; the keys must be sorted by id.

    A leaf that was found the same is not read for these keys again.
    """
    for start, stop, leaf in items.stretches(keys.ids):
        name = start, stop, leaf.digest
        rows: LeafRows | None = None
        if name not in keys.same:
            with suppress(ArtifactError):
                rows = items.rows(leaf)
            if rows is not None and rows.ids == list(keys.ids[start:stop]) and rows.keys == "".join(keys.keys_in_order[start:stop]):
                keys.same[name] = rows.parts
        is_same = name in keys.same
        yield Stretch(start, stop, leaf, None if is_same else rows, is_same, keys.same.get(name, ()))


def _is_plain(value: str) -> bool:
    """Whether a text stands in JSON as it is; digests do."""
    return value.isascii() and value.isalnum()
