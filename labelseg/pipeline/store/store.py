"""The artifacts of a workspace: immutable parts, and the manifests that make artifacts of them."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from labelseg.errors import ArtifactError, DamageError
from labelseg.pipeline.files.atomic import sync_folder, sync_tree
from labelseg.pipeline.store.away.marks import PartsAway, is_away
from labelseg.pipeline.store.checking import Problem, check
from labelseg.pipeline.store.headers import PartHeader, part_path
from labelseg.pipeline.store.manifests import Catalog, Location, ManifestItem
from labelseg.pipeline.store.parts import OpenPart, PartItem, write_folder
from labelseg.pipeline.store.soundness import Notes
from labelseg.pipeline.store.sweeping import Swept, readable_headers, sweep

OPEN_PARTS = 32
PART_ITEMS, PART_BYTES = 4096, 64 << 20  # at most, of arrays before they are compressed


class Store:
    """Read and write access to the artifacts of a workspace. Picklable: a worker opens its own files. Threads may read at once.

    Args:
        root: The ``.labelseg`` folder.
        away: Where parts are sent to as well, and come from that do not lie here; None is nowhere.
    """

    def __init__(self, root: Path, away: PartsAway | None = None) -> None:
        self.root = Path(root)
        self.away = away
        self.catalog = Catalog(self.root)
        self._open: OrderedDict[tuple[str, str], OpenPart] = OrderedDict()
        self._reading = Lock()

    def __reduce__(self) -> tuple[type[Store], tuple[Path, PartsAway | None]]:
        return Store, (self.root, self.away)

    def write_part(self, stage: str, header: Mapping[str, Any], items: Sequence[PartItem]) -> list[Location]:
        """Write items as one part that appears whole or not at all.

        Args:
            stage: Name of the stage.
            header: What to record with the part: version, params, device, lineage; JSON.
            items: The items, in the order of the returned locations. A part of equal items that is there already stands,
                unless it is damaged.

        Raises:
            ArtifactError: an array has a dtype or a name that parts cannot hold.
        """
        if not items:
            return []
        aside = self.aside()
        try:
            written = write_folder(aside, stage, header, items)
            sync_tree(aside)
            self._publish(aside, part_path(self.root, stage, written.part_id))
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        if self.away is not None:
            self.away.send(stage, written.part_id)
        return [Location(written.part_id, item.index, item.digest) for item in written.items]

    def part_headers(self, stage: str) -> Iterator[PartHeader]:
        """Read the headers of all parts of a stage, in a fixed order; a part whose header is damaged covers nothing and is left out."""
        return readable_headers(self.root, stage)

    def read(self, stage: str, part_id: str, index: int, named: ManifestItem | None = None) -> dict[str, NDArray]:
        """Read the arrays of one item, as fresh arrays that the caller may change; damage is noted for the next run.

        Args:
            stage, part_id, index: Where the item lies.
            named: What a manifest says of it.

        Raises:
            ArtifactError: the part cannot be read.
            DamageError: it is missing or damaged, or has no such item.
        """
        try:
            with self._reading:
                return self._part(stage, part_id).read(index, named)
        except DamageError:
            Notes(self.root).add(stage, part_id)
            raise

    def read_item(self, stage: str, item: ManifestItem) -> dict[str, NDArray]:
        """Read the arrays of an item of a manifest, and see that it is the one meant.

        Raises:
            ArtifactError: the part cannot be read.
            DamageError: it is missing, damaged, or holds something else there.
        """
        return self.read(stage, item.part, item.index, item)

    def problems(self, stage: str | None = None) -> list[Problem]:
        """Read everything back and compare digests; nothing when all is well. Damaged parts are noted, sound ones struck out."""
        found = list(check(self.root, stage))
        notes = Notes(self.root)
        damaged = {(p.path.parent.parent.name, p.path.stem) for p in found if p.path.suffix == ".zarr" and p.certain}
        for name in damaged:
            notes.add(*name)
        for name in notes.all() - damaged:
            if stage in (None, name[0]):
                notes.remove(*name)
        return found

    def verify(self, stage: str | None = None) -> list[str]:
        """Read everything back; one line for each problem, none when all is well."""
        return [problem.text for problem in self.problems(stage)]

    def forget_open(self) -> None:
        """Close the parts that are open, before any of them changes its place."""
        self._open.clear()

    def aside(self) -> Path:
        """Make up a path for work in progress."""
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        return self.root / "tmp" / uuid.uuid4().hex

    def sweep(
        self,
        keep: Collection[tuple[str, str]] | None = None,
        keep_checkpoints: Collection[tuple[str, str | None]] | None = None,
        *,
        gone: Collection[Path] = (),
        logs: Collection[Path] = (),
        shares: bool = False,
        dry_run: bool = False,
    ) -> Swept:
        """Remove what is not kept, and ``tmp``; see ``sweeping.sweep``."""
        if not dry_run:
            self.forget_open()
        return sweep(self.root, keep, keep_checkpoints, gone=gone, logs=logs, shares=shares, dry_run=dry_run)

    def _part(self, stage: str, part_id: str) -> OpenPart:
        """Open a part, or take it from the few used last."""
        part = self._open.pop((stage, part_id), None)
        if part is None:
            path = part_path(self.root, stage, part_id)
            self._bring(stage, part_id, path)
            part = OpenPart(path)
        self._open[stage, part_id] = part
        while len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)
        return part

    def _bring(self, stage: str, part_id: str, path: Path) -> None:
        """Fetch a part that does not lie here, if it may lie elsewhere."""
        if not os.path.lexists(path):
            if self.away is not None:
                self.away.fetch(stage, part_id)
            elif is_away(path):
                raise ArtifactError(
                    f"{path} lies in an object store and not here, and {self.root.parent / 'labelseg.toml'} names none. "
                    "Name it again: labelseg config store.url s3://BUCKET/PREFIX"
                )

    def _publish(self, aside: Path, path: Path) -> None:
        """Rename a finished folder to its place; an equal part that is there first stands, a damaged one gives way."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(aside, path)
        except OSError:
            if not path.exists():
                raise
            if _is_intact(path):
                return
            os.rename(path, self.aside())
            os.rename(aside, path)
        Notes(self.root).remove(path.parent.parent.name, path.stem)
        sync_folder(path.parent)


class PartWriter:
    """Collects items and writes a part whenever enough are together.

    Args:
        store, stage, header: As for ``Store.write_part``.
        max_items: Items in a part at most.
        max_bytes: Bytes of array data in a part at most; a larger item stands alone.
    """

    def __init__(
        self, store: Store, stage: str, header: Mapping[str, Any], max_items: int = PART_ITEMS, max_bytes: int = PART_BYTES
    ) -> None:
        self.store = store
        self.stage = stage
        self.header = header
        self.max_items = max_items
        self.max_bytes = max_bytes
        self._items: list[PartItem] = []
        self._bytes = 0
        self._locations: list[Location] = []

    def add(self, item: PartItem) -> None:
        """Take an item; a full part is written first. The arrays must not change until they are written."""
        size = sum(array.nbytes for array in item.arrays.values())
        if self._items and (len(self._items) >= self.max_items or self._bytes + size > self.max_bytes):
            self._write()
        self._items.append(item)
        self._bytes += size

    def flush(self) -> list[Location]:
        """Write what is left; return the locations of all items since the last flush, in the order they were added."""
        self._write()
        locations, self._locations = self._locations, []
        return locations

    def _write(self) -> None:
        """Write the collected items as a part."""
        self._locations += self.store.write_part(self.stage, self.header, self._items)
        self._items, self._bytes = [], 0


def _is_intact(path: Path) -> bool:
    """Whether a part reads back as what was written."""
    try:
        return not any(OpenPart(path).problems())
    except ArtifactError:
        return False
