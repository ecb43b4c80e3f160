"""Two or three processes at once in one workspace."""

from __future__ import annotations

import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.faults.ground.places import EXTRAS, HERE, RUN, Places, stages_of
from benchmarks.faults.ground.processes import Child, Said, call, commands, forked, said
from benchmarks.faults.ground.reading import contents, failure, files
from benchmarks.faults.outcomes import Outcome, Trial

STATES = ("new", "stale", "changed", "done", "interrupted")
WORK = (
    RUN,
    RUN,
    (*RUN, "--retrain"),
    (*RUN, "--force", "cam"),
    ("gc",),
    ("spread", "--split", "val", *HERE),
    ("spread", "--as", "wide", "--rows", "2", *HERE),
    ("cam", "--no-save", "--scales", "1", *HERE),
    ("verify",),
    ("export", "spread", "-o", "OUT"),
    ("status", "--json"),
    ("evaluate", "--json"),
    ("config", "segment.shift", "0"),
)
# Done, an error in one line, some items failed, not fresh, locked: all else is rough.
CODES = (0, 1, 3, 4, 5)
MOST_WORDS = 3
SPREAD_S = 0.15  # the processes begin within this time
LOCKED = 5


class Races:
    """Commands that run side by side.

    Args:
        places: Where workspaces come from.
    """

    def __init__(self, places: Places) -> None:
        self._places = (places, places.in_leaves)
        self._after: dict[tuple[Places, str], dict[str, Any]] = {}

    def race(self, number: int, rng: random.Random) -> Trial:
        """Let two or three processes work at once, then bring everything up to date and compare."""
        state = rng.choice(STATES)
        lines = [[rng.choice(WORK) for _ in range(rng.randint(1, MOST_WORDS))] for _ in range(rng.randint(2, 3))]
        waits = [rng.random() * SPREAD_S for _ in lines]
        places = rng.choice(self._places)
        what = f"{state}{places.words}: " + " | ".join("; ".join(" ".join(words) for words in line) for line in lines)
        normal = self._undisturbed(places, state)
        root = places.copy(state)
        children = [Child(lambda k=k: _work(root, lines[k], waits[k], k)) for k in range(len(lines))]  # type: ignore[misc]
        ends = [child.wait() for child in children]
        outcome, told = "rough", ""
        for ended in ends:
            told = told or ended.crash or ("hung" if ended.hung else "")
        if not told:
            outcome, told = self._outcome(root, [said(value) for ended in ends for value in ended.value], normal)
        places.drop(root)
        return Trial("races", number, what, outcome, told)  # type: ignore[arg-type]

    def _undisturbed(self, places: Places, state: str) -> dict[str, Any]:
        """What a state holds when everything is up to date."""
        if (places, state) not in self._after:
            root = places.copy(state)
            self._after[places, state] = self._finished(root)[1]
            places.drop(root)
        return self._after[places, state]

    def _outcome(self, root: Path, ends: list[Said], normal: dict[str, Any]) -> tuple[Outcome, str]:
        for done in ends:
            words = f"labelseg {' '.join(done.words)}"
            if done.crash or done.code not in CODES:
                return "rough", f"{words}: {done.crash or done.code}"
            if done.words[0] == "verify" and done.code not in (0, LOCKED):
                return "rough", f"{words} called damaged what was only being worked on: {done.out[:200]}"
        for folder in root.glob("out-*"):
            wrong = [n for n, v in files(folder).items() if not Path(n).name.startswith(".") and v not in normal["written"].get(n, (v,))]
            if wrong:
                return "silent", f"{wrong[0]} was written with other content"
        again, after = self._finished(root)
        crashed = [done for done in again if done.crash]
        if crashed:
            return "rough", f"labelseg {' '.join(crashed[0].words)}: {crashed[0].crash}"
        for name, items in normal["held"].items():
            if after["held"].get(name) != items:
                bad = after["held"].get(name)
                return ("lost" if bad is None or failure(bad) else "silent"), f"{name} then gave {str(bad)[:200]}"
        if again[-1].code:
            return "lost", f"verify then said: {again[-1].out[:200]}"
        told = [done for done in ends if done.code not in (0, LOCKED)]
        return ("noticed", f"labelseg {' '.join(told[0].words)}: {told[0].last}") if told else ("recovered", "")

    def _finished(self, root: Path) -> tuple[list[Said], dict[str, Any]]:
        """Bring everything up to date; what was said and what is there, with the masks as they are exported before and after."""
        written: dict[str, set[str]] = {}

        def export() -> None:
            commands(root, [("export", "spread", "-o", str(root / "now"))], stages_of(root))
            for name, value in files(root / "now").items():
                written.setdefault(name, set()).add(value)

        export()
        commands(root, [RUN], stages_of(root))
        export()
        again = commands(root, [(*RUN, "--retrain"), *EXTRAS, ("verify",)], stages_of(root))
        export()
        return again, {"held": forked(lambda: contents(root)), "written": {name: sorted(values) for name, values in written.items()}}


def _work(root: Path, lines: list[tuple[str, ...]], wait: float, number: int) -> list[dict[str, Any]]:
    """In a process of its own: call commands one after the other."""
    time.sleep(wait)
    placed = [tuple(str(root / f"out-{number}") if word == "OUT" else word for word in words) for words in lines]
    return [asdict(call(root, words, stages_of(root))) for words in placed]
