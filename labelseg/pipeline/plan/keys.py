"""Keys: digests that say by which code, from which parameters and from which inputs an artifact was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from labelseg.pipeline.declare.stage import Stage, enters_key, key_name
from labelseg.pipeline.files.digests import canonical_json, digest


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

    def _form(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Write the JSON of an item that reads these, with a gap for each digest, and the order of the gaps."""
        order = tuple(sorted(names))
        everything = {name: canonical_json(value).decode().replace("%", "%%") for name, value in self._shared.items()}
        everything |= dict.fromkeys(order, '"%s"')
        fields = (f"{canonical_json(name).decode().replace('%', '%%')}:{everything[name]}" for name in sorted(everything))
        return f"{self._start.replace('%', '%%')},{{{','.join(fields)}}}]", order


def _is_plain(value: str) -> bool:
    """Whether a text stands in JSON as it is; digests do."""
    return value.isascii() and value.isalnum()
