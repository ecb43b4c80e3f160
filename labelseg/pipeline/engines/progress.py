"""Progress on stderr: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

if TYPE_CHECKING:
    from labelseg.protocols import Bar

INTERVAL_SECONDS = 30.0


class LineProgress:
    """Writes a line to stderr every ``INTERVAL_SECONDS``; short work stays silent.

    Args:
        total: Number of units.
        description: What is being done.
        done: Units that were done before, which tell nothing of the speed.
    """

    def __init__(self, total: int, description: str, done: int = 0) -> None:
        self._total = total
        self._description = description
        self._before = self._done = done
        self._started = self._told = time.monotonic()

    def update(self, n: int, /) -> None:
        """Count units as done."""
        self._done += n
        now = time.monotonic()
        if now - self._told >= INTERVAL_SECONDS:
            self._told = now
            left = (now - self._started) / max(self._done - self._before, 1) * (self._total - self._done)
            sys.stderr.write(f"{self._description}: {self._done:,} of {self._total:,}, {left:.0f} s left\n")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def show_progress(total: int, description: str, done: int = 0) -> AbstractContextManager[Bar]:
    """Show how far a piece of work is, from entering to leaving what is returned."""
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, desc=description, leave=False, dynamic_ncols=True)
    return LineProgress(total, description, done)
