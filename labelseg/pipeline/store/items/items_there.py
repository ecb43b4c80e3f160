"""Which items parts hold, in eight bytes an item: enough to tell whether what a manifest names is there."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labelseg.pipeline.store.headers import HeaderItem
    from labelseg.pipeline.store.manifests import ManifestItem


class ItemsThere:
    """The items of parts, each as a number of 64 bits that hardly another item shares; the seed of the process is in it."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], array[int]] = {}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Go through the parts: stage and id of each."""
        return iter(self._numbers)

    def add(self, stage: str, part: str, items: Iterable[HeaderItem]) -> None:
        """Note what a part holds."""
        self._numbers[stage, part] = array("q", sorted(map(_number, items)))

    def holds(self, stage: str, item: ManifestItem) -> bool:
        """Whether an item is in the part that a manifest names for it; not in one that was not noted."""
        numbers, number = self._numbers.get((stage, item.part), ()), _number(item)
        at = bisect_left(numbers, number)
        return at < len(numbers) and numbers[at] == number


def _number(item: HeaderItem | ManifestItem) -> int:
    """What tells an item from every other one of its part, as one number: its index there, its id, its key and its digest."""
    return hash((item.index, item.id, item.key, item.digest))
