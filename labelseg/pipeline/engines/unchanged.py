"""Whether the data that an item was computed from, or a model learned from, is still what keys say it is: people change files meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import get_args

from labelseg.errors import DataError
from labelseg.pipeline.files.fingerprint import FileDigests
from labelseg.pipeline.plan.attached_files import AttachedFiles
from labelseg.pipeline.plan.data_digests import DataDigests
from labelseg.pipeline.plan.decisions import Entry
from labelseg.protocols import Dataset, Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
ATTACHED = "attached"


class Unchanged:
    """Compares the data of items with what it was when they were planned.

    Args:
        dataset: The data.
        digests: Of files as they are now.
        truth: Roles that the ground truth of the data plays.
    """

    def __init__(self, dataset: Dataset, digests: FileDigests, truth: Collection[str] = ()) -> None:
        self._data = DataDigests(dataset, digests)
        self._digests = digests
        self._kinds: dict[str, Kind] = {**{kind: kind for kind in KINDS}, **{f"@{role}": "mask" for role in truth}}

    def demand(self, entry: Entry, work: str) -> None:
        """Refuse what was computed from an item whose data changed.

        Args:
            entry: The item as it was planned.
            work: What was computed, for the message.

        Raises:
            DataError: it did.
        """
        for name in self.changes(entry):
            raise DataError(
                f"{work}: expected the {name} that this run began with, but it changed while the run was at work. "
                "Nothing of it is kept. Run the same command again"
            )

    def changed(self, entries: Iterable[Entry]) -> list[str]:
        """List the ids of the items whose data is another one now."""
        return [entry.id for entry in entries if any(self.changes(entry))]

    def changes(self, entry: Entry) -> Iterator[str]:
        """Name what of the data of an item is another one now."""
        for name, planned in entry.inputs.items():
            kind = self._kinds.get(name)
            if kind is not None and self._data.item(entry.id, kind) != planned:
                yield kind
            elif name == ATTACHED and AttachedFiles(self._digests, Path()).digest(entry.attached) != planned:
                yield f"file {entry.attached}"
