"""Rows of which each is made when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

Row = TypeVar("Row")


class LazyRows(Sequence[Row]):
    """A sequence that makes a row on access; who derives from it says how many there are, and makes one."""

    @abstractmethod
    def row(self, k: int) -> Row:
        """Make the row at a place from 0 to less than the length."""

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        places = range(len(self))
        return [self.row(k) for k in places[index]] if isinstance(index, slice) else self.row(places[index])
