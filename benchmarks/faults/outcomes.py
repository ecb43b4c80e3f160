"""How a trial can end, and the table of a campaign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["recovered", "noticed", "harmless", "silent", "lost", "outside", "rough"]
OUTCOMES: tuple[Outcome, ...] = ("recovered", "noticed", "harmless", "silent", "lost", "outside", "rough")
BAD: tuple[Outcome, ...] = ("silent", "lost", "outside", "rough")


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        kind: Kind of fault.
        number: Number of the trial in its kind; with the seed it gives the same trial again.
        what: What was done, in words.
        outcome: ``recovered``: all is as without the fault, after a rerun; ``noticed``: an error or a reason told of it, and what the
            messages advise made all as before; ``harmless``: nothing that anything reads has changed; ``silent``: wrong data or a wrong
            statement without a word; ``lost``: something that was finished is gone, or no advice brings it back; ``outside``: something
            beyond the workspace was changed, removed, or read into results; ``rough``: an error that is none of labelseg's, a hang, or
            an alarm about what is sound.
        told: What was seen that makes it so.
    """

    kind: str
    number: int
    what: str
    outcome: Outcome
    told: str = ""


def table(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Count outcomes, a row for every kind."""
    rows: dict[str, dict[str, Any]] = {}
    for trial in trials:
        row = rows.setdefault(trial.kind, {"kind": trial.kind, "tried": 0, **dict.fromkeys(OUTCOMES, 0)})
        row["tried"] += 1
        row[trial.outcome] += 1
    return list(rows.values())


def text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Lay the table out for a terminal."""
    header = ("kind", "tried", *OUTCOMES)
    lines = [header, *(tuple(str(row[name]) for name in header) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
