"""How a node stands, and the items it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelseg.answers.given_answers import Said
from labelseg.answers.given_corrections import MaskFile
from labelseg.pipeline.lazy_rows import LazyRows
from labelseg.pipeline.plan.graph import Node
from labelseg.pipeline.plan.reasons import Reason, State
from labelseg.pipeline.store.manifests import ManifestItem, Ref


@dataclass(frozen=True)
class Entry:
    """One item to work on.

    Attributes:
        id: Id of the image.
        inputs: Digests of what it is made from.
        reads: Role -> stage that is read, and the item of it.
        answers: What people said of its pixels, where the stage reads that.
        correction: The mask that was imported for it, where the stage reads that.
        attached: The file that another program wrote for it, where the stage reads that.
    """

    id: str
    inputs: Mapping[str, str]
    reads: Mapping[str, tuple[str, ManifestItem]]
    answers: tuple[Said, ...] = ()
    correction: MaskFile | None = None
    attached: Path | None = None


class Entries(LazyRows[Entry]):
    """Items to work on, each made when it is asked for: of a million only their ids and digests are held.

    Args:
        ids: Their ids, in order.
        make: Makes the entry at a place.
        columns: Kind of data or role -> digest of each, as far as they are made of nothing else; None where only entries tell.
    """

    def __init__(self, ids: Sequence[str], make: Callable[[int], Entry], columns: Mapping[str, Sequence[str]] | None = None) -> None:
        self.ids = ids
        self.columns = columns
        self._make = make

    def chosen(self, places: Sequence[int]) -> Entries:
        """Return some of the items alone."""
        return Entries([self.ids[place] for place in places], lambda k: self._make(places[k]))

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, k: int) -> Entry:
        """Make the entry at a place."""
        return self._make(k)

    def __iter__(self) -> Iterator[Entry]:
        return map(self._make, range(len(self)))


@dataclass(frozen=True)
class Standing:
    """What the readers of a node find: how it is made, the finished artifact, and whether that will stay as it is."""

    recipe: Mapping[str, Any]
    ref: Ref | None
    settled: bool


@dataclass(frozen=True)
class Decision:
    """The state of a node and why.

    Attributes:
        node: The node.
        state: One of fresh, outdated, stale, missing, failed.
        reasons: Empty where fresh.
        recipe: How the node is made now.
        inputs: Digests of what it reads; None while something it reads will change.
        key: Key of the artifact it needs; None as long as the inputs are unknown.
        ref: The artifact that stands now.
    """

    node: Node
    state: State
    reasons: tuple[Reason, ...]
    recipe: dict[str, Any]
    inputs: dict[str, str] | None
    key: str | None
    ref: Ref | None

    @property
    def standing(self) -> Standing:
        """What readers of the node find; an outdated model and a map with failed items serve them as they are."""
        return Standing(self.recipe, self.ref, self.state in ("fresh", "outdated", "failed"))
