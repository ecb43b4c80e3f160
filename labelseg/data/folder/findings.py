"""What is found in data before anything runs: one line each, of what, where, what it does to the result, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something a person should know of the data.

    Attributes:
        level: ``error`` makes the result wrong, or ends the run later; ``warning`` may; ``note`` tells how something was read.
        where: File, folder or split, with the line where there is one.
        what: What was found.
        effect: What it does to the result.
        remedy: What to do about it.
    """

    level: Level
    where: str
    what: str
    effect: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        tail = f": {self.effect}" if self.effect else ""
        return f"{self.level}: {self.where}: {self.what}{tail}.{f' {self.remedy}' if self.remedy else ''}"


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Order findings by level, each once; those of one level stay in order."""
    return sorted(dict.fromkeys(findings), key=lambda finding: LEVELS.index(finding.level))
