"""Kills at any file operation, in the middle of a write, or at any moment; and disks that fill up at the same places."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.ground.injection import Operations, die, interrupt, limit_file_size, no_space, terminate
from benchmarks.faults.ground.places import EXTRAS, HERE, LONGER, RUN, Places, share, stages_of
from benchmarks.faults.ground.processes import Child, Ended, Said, call, commands, forked
from benchmarks.faults.ground.reading import contents, failure, files
from benchmarks.faults.outcomes import Outcome, Trial
from labelseg.exchange import WRITTEN
from labelseg.pipeline.engines.interruption import listen

EXPORTED = "exported"
# Of the data, in commands.
MASKS, PHOTOS, SCORES, FEATURES, CLASSES = "MASKS", "PHOTOS", "SCORES", "FEATURES", "CLASSES"
OF_THE_DATA = {MASKS: "masks", PHOTOS: "images", SCORES: "scores", FEATURES: "features", CLASSES: "names.txt"}
ASK = ("ask", "--of", "spread", "--choose", "random", "--budget", "4", *HERE)
CORRECT = ("correct", "--of", "spread", *HERE)
ANNOTATE = ("labor-annotate", "--round", "1", "--split", "train", *HERE)
FINISH = ("finish", "spread", "--split", "train")
OVERRIDE = ("override", "--of", "spread", *HERE)
ZIP = {"cvat": ".zip"}  # formats that are one file
LARGEST = 16 << 10  # bytes of the largest file that a toy run writes, about


SIGNALS = {"Ctrl-C": interrupt, "SIGTERM": terminate}


@dataclass(frozen=True)
class Scenario:
    """A command that is disturbed.

    Attributes:
        state: Where it begins.
        words: The command.
        share: How often it is tried, against the others.
        mends: What is called afterwards, so that everything is there.
    """

    state: str
    words: tuple[str, ...]
    share: int = 4
    mends: tuple[tuple[str, ...], ...] = (RUN, *EXTRAS)

    @property
    def name(self) -> str:
        """Command and state."""
        return f"{' '.join(self.words)} ({self.state})"


SCENARIOS = (
    Scenario("new", RUN, 12),
    Scenario("stale", RUN, 8),
    Scenario("changed", (*RUN, "--retrain"), 8),
    Scenario("changed", RUN, 6),
    Scenario("interrupted", LONGER, 6, (RUN, *EXTRAS, LONGER)),
    Scenario("done", (*RUN, "--force", "train-net", "--force", "spread"), 6),
    Scenario("stale", ("gc",), 6),
    Scenario("interrupted", ("gc", "--unsaved"), 6),
    Scenario("done", ("export", "spread", "-o", EXPORTED), 4),
    Scenario("done", ("export", "segment", "-o", EXPORTED, "--overlay"), 4),
    Scenario("done", ("export", "train-net", "--model", f"{EXPORTED}.safetensors"), 2),
    *(Scenario("done", ("export", "spread", "--format", form, "-o", EXPORTED + ZIP.get(form, "")), 1) for form in WRITTEN),
    Scenario("done", ("report", "-o", f"{EXPORTED}.html"), 2),
    Scenario("done", ("predict", PHOTOS, "-o", EXPORTED, "--overlay", *HERE), 2),
    Scenario("done", ("show", "spread", "a1", "--plot", f"{EXPORTED}.png"), 1),
    Scenario("done", ("import-masks", MASKS), 4, (OVERRIDE, RUN, *EXTRAS)),
    Scenario("done", ("tag", "kept"), 3),
    Scenario("done", ASK, 3),
    Scenario("asked", ("answers", "ask", "--truth"), 3, (CORRECT, RUN, *EXTRAS)),
    Scenario("asked", ("annotate", "ask"), 3, (("answers", "ask", "--truth"), CORRECT, RUN, *EXTRAS)),
    Scenario("done", ("view", "spread"), 1),
    Scenario("answered", CORRECT, 2),
    Scenario("round", ANNOTATE, 3),
    Scenario("sharing", share(0), 3, (share(1), FINISH, RUN, *EXTRAS)),
    Scenario("shared", FINISH, 3),
    Scenario("done", ("import-scores", "--files", SCORES, "--names", CLASSES, "--split", "train", *HERE), 3),
    Scenario("done", ("import-features", "--files", FEATURES, "--stride", "2", "--split", "train", *HERE), 3),
    Scenario("done", ("features", "--backbone", "tiny", "--weights", "none", "--split", "train", *HERE), 2),
    Scenario("done", ("config", "segment.shift", "3"), 4),
    Scenario("done", ("spread", "--as", "other", "--rows", "3", *HERE), 4),
    Scenario("done", ("cam", "--no-save", "--scales", "2", *HERE), 4),
    Scenario("done", ("status",), 1),
    Scenario("new", ("run", "--workers", "2"), 1),
    Scenario("scenes-stale", RUN, 1, (RUN,)),
    Scenario("damaged", ("verify", "--repair"), 6),
)
TOYS = tuple(s for s in SCENARIOS if not s.state.startswith("scenes") and "2" not in s.words[2:])


@dataclass(frozen=True)
class Undisturbed:
    """What a scenario gives where nothing disturbs it."""

    operations: int
    seconds: float
    before: dict[str, Any]
    right_after: dict[str, Any]
    after: dict[str, Any]


class Kills:
    """Kills, and full disks, in the scenarios.

    Args:
        places: Where workspaces come from.
        scenarios: What to disturb.
    """

    def __init__(self, places: Places, tried: Sequence[Scenario]) -> None:
        self._places = (places, places.in_leaves)
        self._scenarios = tried
        self._known: dict[tuple[Places, str], Undisturbed] = {}

    def kill(self, number: int, rng: random.Random) -> Trial:
        """Kill a command, look at what is left, run again and compare."""
        scenario = rng.choices(self._scenarios, [s.share for s in self._scenarios])[0]
        places = rng.choice(self._places[: 1 if scenario.state.startswith("scenes") else None])
        normal = self._undisturbed(places, scenario)
        way = rng.choices(("operation", "halfway", "moment", "Ctrl-C", "SIGTERM"), (6, 2, 1, 1, 1))[0]
        at, size = rng.randint(1, normal.operations), int(LARGEST ** rng.random())
        moment = rng.random() * normal.seconds
        there = f"operation {at} of {normal.operations}"
        where = {"halfway": f"byte {size} of a file", "moment": f"{moment:.3f} s"}
        what = f"{scenario.name}{places.words}: {way if way in SIGNALS else 'killed'} at {where.get(way, there)}"
        root = places.copy(scenario.state)
        child = Child(lambda: _disturbed(root, scenario, way, at, size))
        ended = child.wait(kill_after=moment if way == "moment" else None)
        return self._judged(Trial("kills", number, what, "harmless"), scenario, root, ended, normal)

    def fill(self, number: int, rng: random.Random) -> Trial:
        """Let the disk be full from an operation on, at one alone, or for files over a size."""
        scenario = rng.choices(self._scenarios, [s.share for s in self._scenarios])[0]
        places = rng.choice(self._places[: 1 if scenario.state.startswith("scenes") else None])
        normal = self._undisturbed(places, scenario)
        way = rng.choice(("full once", "full", "too large"))
        at, size = rng.randint(1, normal.operations), int(LARGEST ** rng.random())
        what = f"{scenario.name}{places.words}: {'files to ' + str(size) + ' bytes' if way == 'too large' else f'{way} at operation {at}'}"
        root = places.copy(scenario.state)
        ended = Child(lambda: _disturbed(root, scenario, way, at, size)).wait()
        return self._judged(Trial("full disks", number, what, "harmless"), scenario, root, ended, normal)

    def _undisturbed(self, places: Places, scenario: Scenario) -> Undisturbed:
        """Run a scenario once without a fault."""
        if (places, scenario.name) not in self._known:
            root = places.copy(scenario.state)
            before = forked(lambda: contents(root))
            counted = forked(lambda: _disturbed(root, scenario, "nothing", 0, 0))
            if counted["said"]["code"]:
                raise RuntimeError(f"{scenario.name} ended with {counted['said']}")
            right_after = forked(lambda: contents(root))
            after = self._finished(root, scenario)[1]
            Places.drop(root)
            self._known[places, scenario.name] = Undisturbed(counted["operations"], counted["seconds"], before, right_after, after)
        return self._known[places, scenario.name]

    def _judged(self, trial: Trial, scenario: Scenario, root: Path, ended: Ended, normal: Undisturbed) -> Trial:
        """Compare what is left, and what a rerun makes of it, with what would be without the fault."""
        outcome, told = self._outcome(scenario, root, ended, normal)
        Places.drop(root)
        return Trial(trial.kind, trial.number, trial.what, outcome, told)

    def _outcome(self, scenario: Scenario, root: Path, ended: Ended, normal: Undisturbed) -> tuple[Outcome, str]:
        if ended.hung or ended.crash:
            return "rough", ended.crash or "hung"
        if ended.value and ended.value["said"]["crash"]:
            return "rough", ended.value["said"]["crash"]
        left = forked(lambda: [contents(root), half_written(root, normal.after[EXPORTED])])
        for name, items in left[0].items():
            before, whole = normal.before.get(name), normal.right_after.get(name)
            # What was damaged before may be so still; the words for it name another folder.
            still = failure(items) and failure(before)
            if not still and items not in (before, whole) and not on_the_way(items, whole):
                return ("lost", f"{name} then gave {items}") if failure(items) else ("silent", f"{name} then held other items")
        gone = [name for name in normal.before if name in normal.right_after and name not in left[0]]
        if gone:
            return "lost", f"{gone[0]} was gone"
        if left[1]:
            return "silent", f"{left[1]} is half written"
        ends, after = self._finished(root, scenario)
        crashed = [done for done in ends if done.crash]
        if crashed:
            return "rough", f"labelseg {' '.join(crashed[0].words)}: {crashed[0].crash}"
        if after != normal.after:
            return "lost", f"the rerun gave other content; {[d.last for d in ends if d.code]} {_differences(normal.after, after)}"
        if names := leftovers(root):
            return "rough", f"{names[0]} was left behind"
        if ends[-1].code:
            return "rough", f"verify then said: {(ends[-1].out or ends[-1].err)[:300]}"
        return ("recovered", "") if ended.killed or ended.value["said"]["code"] else ("harmless", "")

    def _finished(self, root: Path, scenario: Scenario) -> tuple[list[Said], dict[str, Any]]:
        """Call again what was disturbed, and all that makes the workspace whole; what was said and what is there then."""
        again = _placed(root, scenario)
        ends = commands(root, [again, *scenario.mends, ("verify", "--repair"), ("verify",)], stages_of(root))
        after = forked(lambda: contents(root))
        return ends, {**after, EXPORTED: exported(root)}


def on_the_way(items: dict[str, Any], whole: dict[str, Any] | None) -> bool:
    """Whether an artifact holds some of its items as they should be, and says of all others that they are not there."""
    told = items.get("failed", [])
    return bool(told and whole) and {n: v for n, v in (whole or {}).items() if n not in (*told, "failed")} == {
        name: value for name, value in items.items() if name != "failed"
    }


def exported(root: Path) -> dict[str, str]:
    """Digest what was exported; of a report, which tells the time, only whether it is whole."""
    found = {name: value for name, value in files(root).items() if name.startswith(EXPORTED) and not Path(name).name.startswith(".")}
    for path in root.glob(f"{EXPORTED}.safetensors"):
        found[path.name] = str(path.stat().st_size)
    for path in root.glob(f"{EXPORTED}.html"):
        found[path.name] = path.read_text()[-20:]
    return found


def half_written(root: Path, whole: dict[str, str]) -> str:
    """Name an exported file that is there and not whole; files under a name of their own do not count."""
    return next((name for name, value in exported(root).items() if value != whole.get(name)), "")


def leftovers(root: Path) -> list[str]:
    """Name what is still in the making, outside of what ``gc`` clears."""
    return [name for name in files(root) if not name.startswith(".labelseg") and any(part.endswith(".tmp") for part in Path(name).parts)]


def _placed(root: Path, scenario: Scenario) -> tuple[str, ...]:
    """The command, with what it exports inside of the trial, and what it reads beside it."""
    data = {word: str(root.parent / "data" / name) for word, name in OF_THE_DATA.items()}
    return tuple(str(root / word) if word.startswith(EXPORTED) else data.get(word, word) for word in scenario.words)


def _disturbed(root: Path, scenario: Scenario, way: str, at: int, size: int) -> dict[str, Any]:
    """In a process of its own: call the command with a fault."""
    import time

    disturbances = {"operation": die, "full once": no_space, "full": no_space, **SIGNALS}
    if way in SIGNALS:
        listen()
    started = time.monotonic()
    if way in ("halfway", "too large"):
        limit_file_size(size, kill=way == "halfway")
    operations = Operations(root, at if way in disturbances else 0, disturbances.get(way), repeat=way == "full")
    done = call(root, _placed(root, scenario), stages_of(root))
    return {"operations": operations.count, "seconds": time.monotonic() - started, "said": asdict(done)}


def _differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Name what differs."""
    return ", ".join(f"{name}: {str(other.get(name))[:120]}" for name in {*one, *other} if one.get(name) != other.get(name))[:400]
