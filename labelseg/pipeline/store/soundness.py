"""Whether what a ref names is still there and what was written, as far as that can be told from plain JSON without reading arrays.

Damage of arrays is found by whoever reads them, and noted: a file ``damaged/<stage>/<part>`` says that a part was found damaged.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelseg.errors import ArtifactError, LabelsegError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.paths import below, is_key
from labelseg.pipeline.files.seals import intact_seal
from labelseg.pipeline.store.away.marks import DAMAGED, noted_parts
from labelseg.pipeline.store.headers import is_in_place, part_path
from labelseg.pipeline.store.items.leaf_items import LeafItems, read_leaves
from labelseg.pipeline.store.manifests import Catalog, Ref
from labelseg.pipeline.store.records import repair

_PARTS, _LEAVES = b'\n"parts": ', b'\n"leaves": '


class Notes:
    """What was found damaged by those who read it.

    Args:
        root: The ``.labelseg`` folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = Path(root) / DAMAGED

    def add(self, stage: str, part: str) -> None:
        """Note a part; where that cannot be written it is found again."""
        with suppress(OSError, ArtifactError):
            path = below(self._folder, stage, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def remove(self, stage: str, part: str) -> None:
        """Strike a part out."""
        with suppress(OSError, ArtifactError):
            below(self._folder, stage, part).unlink()

    def all(self) -> set[tuple[str, str]]:
        """List (stage, part) of what is noted."""
        return noted_parts(self._folder.parent)


class Soundness:
    """Tells of refs whether what they name is sound; every part is looked at once.

    Args:
        catalog: Manifests and refs.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._noted = Notes(catalog.root).all()
        self._parts: dict[tuple[str, str], bool] = {}
        self._named: dict[tuple[str, str, str, str], list[str]] = {}

    def forget(self, stage: str, key: str) -> None:
        """Look again at a manifest that was replaced, and at the parts that it names."""
        for name in [name for name in self._named if name[:2] == (stage, key)]:
            for part in self._named.pop(name):
                self._parts.pop((stage, part), None)

    def manifest_problem(self, ref: Ref) -> str:
        """Say what is wrong with the manifest that a ref names; empty when nothing is."""
        try:
            self._named_parts(ref)
        except LabelsegError as error:
            return str(error)
        return ""

    def part_problem(self, ref: Ref) -> str:
        """Say how many items of what a ref names lie in damaged parts; empty when none does, or when its manifest cannot be read."""
        try:
            odd = {part for part in self._named_parts(ref) if not self._is_sound(ref.stage, part)}
            if not odd:
                return ""
            manifest = self._catalog.load(ref.stage, ref.key)
        except LabelsegError as error:
            return str(error)
        count = sum(item.part in odd for item in (manifest.items if manifest else ()))
        where = part_path(self._catalog.root, ref.stage, min(odd))
        return f"{count:,} of {ref.count:,} items lie in damaged parts such as {where}. {repair(ref.stage)}"

    def _named_parts(self, ref: Ref) -> list[str]:
        """List the parts of what a ref names.

        Raises:
            ArtifactError: its manifest is gone, damaged or another one than the ref was set to.
        """
        name = (ref.stage, ref.key, ref.digest, ref.manifest)
        if name not in self._named:
            self._named[name] = self._read_parts(ref)
        return self._named[name]

    def _read_parts(self, ref: Ref) -> list[str]:
        """Read the names of the parts from a manifest, and see that its leaves are what was written."""
        path = self._catalog.manifest_path(ref.stage, ref.key)
        with suppress(OSError, ValueError):
            data = read_file(path)
            if ref.manifest and intact_seal(data) == ref.manifest:
                # What is sealed is what we wrote, so single lines can be read: thousands of items wait in others.
                parts = _line(data, _PARTS)
                leaves = read_leaves(_line(data, _LEAVES))
                if all(map(is_key, parts)):
                    LeafItems(self._catalog.root, ref.stage, leaves).demand_intact()
                    return list(parts)
        manifest = self._catalog.named(ref)
        if isinstance(manifest.items, LeafItems):
            manifest.items.demand_intact()
        return manifest.parts

    def _is_sound(self, stage: str, part: str) -> bool:
        """Whether a part is in its place and was not found damaged."""
        if (stage, part) not in self._parts:
            # A key makes a plain name, and a header names its part: links need not be looked at before arrays are read.
            path = self._catalog.root / "objects" / stage / part[:2] / f"{part}.zarr"
            self._parts[stage, part] = (stage, part) not in self._noted and is_in_place(path)
        return self._parts[stage, part]


def _line(data: bytes, name: bytes) -> list[Any]:
    """Read the value on one line of a manifest; empty where it has no such line."""
    start = data.rfind(name)
    return [] if start < 0 else list(json.loads(data[start + len(name) : data.index(b",\n", start + 1)]))
