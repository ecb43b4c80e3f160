"""Ctrl-C and SIGTERM: each is heard and remembered, and ends the work even where what it raised got lost.

Python raises wherever the program happens to be. In a ``__del__``, a callback of a library or a bare ``except`` that is swallowed, and
while modules are loaded it ends in a traceback. So a signal is noted first; it raises only within ``interruptible``, and what was noted
is raised again at the next border between items or iterations. Who uses the package from Python keeps the handlers of Python.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """Somebody asks this process to end, as a scheduler does; it ends as after Ctrl-C."""


class _Ear:
    """What was heard in this process, and whether it raises."""

    first: type[KeyboardInterrupt] | None = None
    raises = False


def listen() -> None:
    """Note Ctrl-C and SIGTERM from now on; where Ctrl-C is ignored, as in a job in the background, that stays so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)
    sys.unraisablehook = _tell_unraisable


def ignore() -> None:
    """Ignore both from now on: all is done, and the interpreter puts itself away."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def heard() -> type[KeyboardInterrupt] | None:
    """Tell what was heard first; None where nothing was."""
    return _Ear.first


def raise_if_heard() -> None:
    """Raise what was heard, where that was swallowed on its way.

    Raises:
        KeyboardInterrupt: Ctrl-C, or ``Terminated``.
    """
    if _Ear.first is not None:
        raise _Ear.first


@contextmanager
def interruptible() -> Iterator[None]:
    """Let what is heard raise, also what was heard before; what got lost meanwhile is raised at the end."""
    from labelseg.pipeline.files.mishaps import keep_finished  # loaded when signals are heard already

    _Ear.raises = True
    keep_finished(False)
    try:
        raise_if_heard()
        yield
        raise_if_heard()
    finally:
        _Ear.raises = False


def exit_code(kind: type[KeyboardInterrupt]) -> int:
    """Return the code that a program ends with after what was heard."""
    return TERMINATED if issubclass(kind, Terminated) else INTERRUPTED


def farewell(kind: type[KeyboardInterrupt]) -> str:
    """Tell that the work was cut short, and what the same command does next."""
    from labelseg.pipeline.files.mishaps import what_stays

    return f"{'Terminated' if issubclass(kind, Terminated) else 'Interrupted'}. {what_stays()}"


def _hear(number: int, frame: FrameType | None) -> None:
    """Note a signal, and raise where that may be."""
    kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
    _Ear.first = _Ear.first or kind
    if _Ear.raises:
        raise kind


def _tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing where an interruption was swallowed, since it is raised again; tell the rest as Python does."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
