"""Which items parts hold, in eight bytes an item: enough to tell whether what a manifest names is there."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Place(NamedTuple):
    """What tells an item of a part from every other: its index there, its id, its key and its digest."""

    index: int  # type: ignore[assignment]
    id: str
    key: str
    digest: str


class ItemsThere:
    """The items of parts, each as a number of 64 bits that hardly another item shares; the seed of the process is in it."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], array[int]] = {}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Go through the parts: stage and id of each."""
        return iter(self._numbers)

    def add(self, stage: str, part: str, places: Iterable[Place]) -> None:
        """Note what a part holds."""
        self._numbers[stage, part] = array("q", sorted(map(hash, places)))

    def holds(self, stage: str, part: str, place: Place) -> bool:
        """Whether a part holds an item; False of a part that was not noted."""
        numbers, number = self._numbers.get((stage, part), ()), hash(place)
        at = bisect_left(numbers, number)
        return at < len(numbers) and numbers[at] == number
