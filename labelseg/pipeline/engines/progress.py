"""Progress on stderr: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

from labelseg.pipeline.engines.interruption import raise_if_heard
from labelseg.wording import seconds_text

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
            sys.stderr.write(f"{self._description}: {self._done:,} of {self._total:,}, {seconds_text(left)} left\n")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Border:
    """A bar that is told of every item or iteration; between two of them the work may be cut short."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def update(self, n: int, /) -> None:
        """Count units as done, and raise an interruption that got lost."""
        self._bar.update(n)
        raise_if_heard()


def _has_room() -> bool:
    """Whether stderr is a terminal of known size: on one of no rows or no columns, as some are said to be, a bar would not show."""
    if not sys.stderr.isatty():
        return False
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return size.columns > 0 and size.lines > 0


@contextmanager
def show_progress(total: int, description: str, done: int = 0) -> Iterator[Bar]:
    """Show how far a piece of work is, from entering to leaving what is returned."""
    shown = tqdm(total=total, initial=done, desc=description, leave=False, dynamic_ncols=True) if _has_room() else None
    with shown or LineProgress(total, description, done) as bar:
        yield Border(bar)
