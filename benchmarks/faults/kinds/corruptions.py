"""Damaged files: what every reader says of them, and whether what it advises mends them."""

from __future__ import annotations

import random
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.ground.places import EXTRAS, HERE, LONGER, RUN, Places, stages_of
from benchmarks.faults.ground.processes import Said, commands, forked
from benchmarks.faults.ground.reading import CRASH, ERROR, Readings, contents, failure, said_of
from benchmarks.faults.kinds.damages import damage
from benchmarks.faults.outcomes import Outcome, Trial

STATE = "interrupted"
REMEDIES = 4
ALL = (RUN, *EXTRAS, LONGER)


class Corruptions:
    """Damage to a workspace in which everything ran, and in which a training waits to go on.

    Args:
        places: Where workspaces come from.
    """

    def __init__(self, places: Places) -> None:
        self._places = (places, places.in_leaves)
        self._normal: dict[Places, tuple[Readings, Readings, Readings]] = {}

    def corrupt(self, number: int, rng: random.Random) -> Trial:
        """Damage a file, read everything, run again, and follow the advice that is given."""
        places = rng.choice(self._places)
        held, said, after = self._undamaged(places)
        root = places.copy(STATE)
        kind, what = damage(root, rng)
        outcome, told = self._outcome(root, places.state(STATE), kind, held, said, after)
        places.drop(root)
        return Trial("corruptions", number, f"{what}{places.words}", outcome, told)

    def _undamaged(self, places: Places) -> tuple[Readings, Readings, Readings]:
        """What the workspace holds and says, and what it holds after a rerun."""
        if places not in self._normal:
            root = places.copy(STATE)
            held = forked(lambda: contents(root))
            said = forked(lambda: said_of(root, held))
            commands(root, list(ALL), stages_of(root))
            self._normal[places] = held, said, forked(lambda: contents(root))
            places.drop(root)
        return self._normal[places]

    def _outcome(self, root: Path, sound: Path, kind: str, held: Readings, said: Readings, after: Readings) -> tuple[Outcome, str]:
        now = _asked(lambda: {**contents(root), **said_of(root, held)})
        if failure(now):
            return "rough", now[CRASH]
        noticed, wrong, crashed = compared({**held, **said}, now)
        if crashed:
            return "rough", crashed[0]
        if wrong:
            return "silent", wrong[0]
        if kind == "labelseg.toml":
            shutil.copyfile(sound / "labelseg.toml", root / "labelseg.toml")
        outcome, told = mended(root, after)
        if outcome != "harmless":
            return outcome, "; ".join([told, *noticed[:1]])
        return ("noticed", "; ".join([noticed[0], told])) if noticed else ("noticed" if told else "harmless", told)


def compared(expected: Readings, now: Readings) -> tuple[list[str], list[str], list[str]]:
    """Compare answers with what they were: those that tell of damage, those that are wrong without a word, those that are crashes."""
    noticed, wrong, crashed = [], [], []
    for name, before in expected.items():
        answer = now.get(name)
        if answer == before:
            continue
        if failure(answer) == CRASH:
            crashed.append(f"{name}: {answer[CRASH]}")
        elif failure(answer) == ERROR:
            noticed.append(f"{name}: {answer[ERROR]}")
        elif answer is not None:
            (wrong if _untold(name, before, answer) else noticed).append(f"{name}: {_change(before, answer)}")
    # What stands for nothing any more is told of where it is asked for by name.
    for name in (expected.keys() - now.keys()) & {n for n in expected if n.count("|") == 2 and not n.startswith(("show", "export"))}:
        if not name.endswith("|unsaved") and f"show {name}" in expected and not failure(now.get(f"show {name}")):
            wrong.append(f"{name} is not listed, but shown")
    return noticed, wrong, crashed


def mended(root: Path, after: Readings) -> tuple[Outcome, str]:
    """Run again, and then what messages advise, until everything is as it would be without the fault and ``verify`` finds it sound.

    Returns:
        ``harmless`` where that is reached, with the advice that it took.
    """
    taken: list[str] = []
    lines: list[Sequence[str]] = list(ALL)
    for _ in range(REMEDIES):
        ends = commands(root, [*lines, ("verify",)], stages_of(root))
        crashed = [done for done in ends if done.crash]
        if crashed:
            return "rough", f"labelseg {' '.join(crashed[0].words)}: {crashed[0].crash}"
        there = forked(lambda: contents(root))
        if there == after and not ends[-1].code:
            return "harmless", f"mended by {', '.join(taken)}" if taken else ""
        advised = [a for done in ends if done.code for a in advice(root, done) if a not in taken]
        if not advised:
            break
        taken += advised[:REMEDIES]
        lines = [*[tuple(a.split()[1:]) + HERE * _runs(a) for a in advised[:REMEDIES] if not _deleted(root, a)], *ALL]
    wrong = [name for name, items in after.items() if there.get(name) != items]
    if not wrong:
        return "rough", f"verify still says: {(ends[-1].out + ends[-1].err).strip()[:200]}, after {', '.join(taken) or 'no advice'}"
    bad = there.get(wrong[0])
    if bad is not None and not failure(bad):
        return "silent", f"after a rerun and {', '.join(taken) or 'no advice'}, {wrong[0]} holds other content"
    return "lost", f"{wrong[0]} after {', '.join(taken) or 'no advice'}: {str(bad)[:200]}"


def advice(root: Path, done: Said) -> Iterator[str]:
    """Read from messages what to call, and what to delete."""
    said = (done.out + "\n" + done.err).replace(f"labelseg -C {shlex.quote(str(root))} ", "labelseg ")
    for line in said.splitlines():
        for path in re.findall(r"Delete (\S+/\S+)", line):
            yield f"delete {path}"
        if "Delete the file" in line:
            yield from (f"delete {path}" for path in re.findall(r"(/\S+\.json)", line)[:1])
        for words in re.findall(r"(?:Run|Rebuild|run|Repair|repair|Mend|mend)(?: it)?: (labelseg [a-z][^.;`]*)", line):
            yield words.strip()


def _deleted(root: Path, words: str) -> bool:
    """Follow the advice to delete something of the workspace; whether it was such an advice."""
    if not words.startswith("delete "):
        return False
    path = Path(words.removeprefix("delete ").rstrip(".,"))
    if path.resolve().is_relative_to((root / ".labelseg").resolve()):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return True


def _runs(words: str) -> int:
    """Whether a command takes the number of workers."""
    return int(words.split()[1] not in ("verify", "gc", "config", "status", "init"))


def _asked(work: Any) -> Readings:
    """Ask in a process of its own; a hang or a death of that is a crash."""
    try:
        return forked(work)
    except RuntimeError as error:
        return {CRASH: str(error)}


def _untold(name: str, before: Any, answer: Any) -> bool:
    """Whether an answer that changed does so without a word."""
    if not isinstance(answer, list):
        return True
    rows, talk = answer
    if name in ("status", "dag --json"):
        known = {(row["instance"], row["split"]): row for row in before[0]}
        changed = [row for row in rows if row != known.get((row["instance"], row["split"]))]
        return any(row["state"] == "fresh" or not row.get("reasons", ["told by its state"]) for row in changed)
    if name.startswith("evaluate"):
        return any(row not in before[0] for row in rows)
    return rows != before[0] and talk == before[1]


def _change(before: Any, answer: Any) -> str:
    """Show where two answers differ first."""
    one, other = str(before), str(answer)
    at = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"...{one[max(0, at - 40) : at + 40]}... became ...{other[max(0, at - 40) : at + 40]}..."
