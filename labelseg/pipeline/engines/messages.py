"""What an engine is given, and the messages its workers send."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.lazy_rows import LazyRows
from labelseg.pipeline.plan.decisions import Entry
from labelseg.pipeline.store.manifests import Location

SetThreads = Callable[[int], "int | None"]


class Task(NamedTuple):
    """One item to compute, under the key it will have."""

    entry: Entry
    key: str


class Tasks(LazyRows[Task]):
    """The items to compute, each made when it is asked for."""

    def __init__(self, entries: Sequence[Entry], keys: Mapping[str, str]) -> None:
        self._entries = entries
        self._keys = keys

    def __len__(self) -> int:
        return len(self._entries)

    def row(self, k: int) -> Task:
        """Make the task at a place."""
        entry = self._entries[k]
        return Task(entry, self._keys[entry.id])


@dataclass(frozen=True)
class MapJob:
    """What the workers of a map stage need to know. Picklable.

    Attributes:
        stage: Name of the stage.
        run: The work function of the stage, importable by name.
        params: Its parameters.
        inputs: What it reads.
        header: Recorded in every part.
        has_masks: Whether each item must hold an array ``mask``.
        keeps: Whether what is computed goes into parts; else the work function puts it elsewhere, and each item is written at once.
        set_threads: Sets the threads of the numeric libraries that are loaded and returns how many there were, None where
            it does not know; importable by name.
    """

    stage: str
    run: Callable[..., Any]
    params: Any
    inputs: Inputs
    header: Mapping[str, Any]
    has_masks: bool = False
    keeps: bool = True
    set_threads: SetThreads | None = None


class Begun(NamedTuple):
    """A worker starts on an item."""

    id: str


class Computed(NamedTuple):
    """An item is computed, and waits to be written."""

    id: str


class Written(NamedTuple):
    """Items are on disk."""

    places: list[tuple[str, Location]]


class Failed(NamedTuple):
    """An item could not be computed."""

    id: str
    error: str
    trace: str


Message = Begun | Computed | Written | Failed


@dataclass
class Outcome:
    """What became of the items: where they lie, and which failed."""

    places: dict[str, Location] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)
