"""Hostile folders: whatever stands in a workspace, nothing beyond it changes, goes, or is read into results."""

from __future__ import annotations

import os
import random
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.faults.ground.places import HERE, LONGER, RUN, Places, stages_of
from benchmarks.faults.ground.processes import Child, call, forked, said
from benchmarks.faults.ground.reading import CRASH, ERROR, contents, failure, said_of
from benchmarks.faults.kinds.hostilities import all_hostilities
from benchmarks.faults.kinds.hostilities.hostility import PEOPLE, Hostility
from benchmarks.faults.outcomes import Outcome, Trial

OUTPUT = "OUT"
MASKS, PHOTOS = "MASKS", "PHOTOS"  # of the data, in commands
UNSAVED = "evaluate --unsaved --json"
# What comes first meets the folder as it was prepared; the others follow.
ORDERS = (
    (RUN, LONGER, ("gc",), ("verify",)),
    (("gc",), RUN, ("export", "spread", "-o", OUTPUT, "--overlay")),
    (
        ("export", "spread", "-o", OUTPUT),
        ("show", "spread", "a1", "--plot", f"{OUTPUT}.png"),
        ("spread", "--force", "--workers", "0"),
        ("gc",),
    ),
    (("verify", "--repair"), ("verify",), (*RUN, "--force", "spread"), ("config", "segment.shift", "1"), ("gc", "--unsaved")),
)
# What people said is read, used, added to and mended.
PEOPLE_ORDERS = (
    (
        ("verify",),
        ("status",),
        ("answers", "ask"),
        ("answers", "ask", "--truth"),
        ("correct", *HERE),
        ("import-masks", MASKS),
        ("override", *HERE),
        ("quality", "spread"),
        ("gc",),
        ("verify", "--repair"),
    ),
    (
        ("gc",),
        ("verify", "--repair"),
        ("import-masks", "--withdraw", "a1"),
        ("correct", "--force", *HERE),
        ("finish", "spread"),
        ("tag", "kept2"),
        ("tag", "--delete", "kept"),
        ("verify",),
    ),
    (
        ("predict", PHOTOS, "-o", OUTPUT, "--overlay", *HERE),
        ("export", "override", "-o", OUTPUT),
        ("export", "spread", "--format", "yolo-seg", "-o", f"{OUTPUT}-yolo"),
        ("report", "-o", f"{OUTPUT}.html"),
        ("answers", "ask", "--json"),
        ("tag", "--list"),
        ("sweep", "spread", "--rows", "1,2"),
    ),
    (
        ("work", "spread", "--shard", "1", "--shards", "2", *HERE),
        ("status", "--json"),
        ("finish", "spread"),
        ("log",),
        ("diff", "spread", "spread:kept"),
        ("dag",),
        ("show", "override", "a1"),
        ("config",),
        ("doctor",),
        ("budget",),
        ("evaluate", "--unsaved"),
        ("gc", "--unsaved"),
    ),
    (
        ("view", "spread"),
        ("annotate", "ask"),
        ("view", "override", "--split", "train"),
        ("view", "spread", "--list", "fix"),
        ("answers", "ask"),
        ("verify", "--repair"),
        ("annotate", "ask", "--all"),
    ),
)


class Hostile:
    """Prepared folders, each met by several orders of commands.

    Args:
        places: Where workspaces come from.
        step: Take every so many of the hostilities only.
    """

    def __init__(self, places: Places, step: int = 1) -> None:
        self._places = places
        self._all = all_hostilities()[::step]
        self._held: dict[Path, dict[str, Any]] = {}

    @property
    def count(self) -> int:
        """Number of hostilities; every further round meets them in another order."""
        return len(self._all)

    def meet(self, number: int, rng: random.Random) -> Trial:
        """Prepare a folder, call commands in it, and look at everything around it."""
        hostility = self._all[number % len(self._all)]
        orders = PEOPLE_ORDERS if hostility.state == PEOPLE else ORDERS
        order = orders[(number + number // len(self._all)) % len(orders)]
        what = f"{hostility.name}; {'; '.join(' '.join(words) for words in order)}"
        around = self._places.base / f"around-{os.getpid()}"
        shutil.rmtree(around, ignore_errors=True)
        outcome, told = self._outcome(around, hostility, order)
        shutil.rmtree(around, ignore_errors=True)
        return Trial("hostile folders", number, what, outcome, told)

    def _outcome(self, around: Path, hostility: Hostility, order: tuple[tuple[str, ...], ...]) -> tuple[Outcome, str]:
        places = self._places.in_leaves if hostility.in_leaves else self._places
        root, victim = _laid_out(places, around, hostility.state)
        held = self._sound(root, places.state(hostility.state))
        forked(lambda: hostility.prepare(root, victim))
        before = snapshot(around, root)
        ended = Child(lambda: _met(around, root, victim, held, order)).wait()
        changed = _changes(before, snapshot(around, root), linked=hostility.linked)
        if changed:
            return "outside", changed
        if ended.hung:
            return "rough", "hung"
        if ended.killed or ended.crash:
            return "rough", ended.crash or "killed"
        opened, readings, ends = ended.value["opened"], ended.value["readings"], [said(value) for value in ended.value["said"]]
        if opened and not hostility.linked:
            return "outside", f"{opened[0]} was opened"
        crashes = [f"{name}: {answer[CRASH]}" for name, answer in readings.items() if failure(answer) == CRASH]
        crashes += [f"labelseg {' '.join(done.words)}: {done.crash}" for done in ends if done.crash]
        if crashes:
            return "rough", crashes[0]
        long = [done.last for done in ends if done.code not in (0, 3) and done.last.count("\n")]
        if long:
            return "rough", long[0]
        for name, answer in readings.items():
            # Artifacts either read as they were or not at all; what commands say of a prepared folder is theirs.
            if name in held and not (failure(answer) or hostility.published) and answer != held[name]:
                return "silent", f"{name} then gave {str(answer)[:200]}"
        removed = UNSAVED if ("gc", "--unsaved") in order else ""
        errors = [answer[ERROR] for name, answer in readings.items() if failure(answer) == ERROR and name != removed]
        errors += [done.last for done in ends if done.code]
        return ("noticed", errors[0][:300]) if errors else ("harmless", "")

    def _sound(self, root: Path, state: Path) -> dict[str, Any]:
        """What the workspace holds before it is prepared."""
        if state not in self._held:
            self._held[state] = forked(lambda: contents(root))
        return self._held[state]


def _laid_out(places: Places, around: Path, state: str) -> tuple[Path, Path]:
    """Lay out a workspace, its data, and a folder that nothing in the workspace may touch."""
    shutil.copytree(places.base / "data", around / "data")
    root, victim = around / "workspace", around / "victim"
    shutil.copytree(places.state(state), root)
    (victim / "deep").mkdir(parents=True)
    for name in ("precious.txt", "precious", "precious.png", "deep/precious.json", "deep/0.safetensors", "precious.zarr"):
        (victim / name).write_text(f"the only copy of {name}")
    return root, victim


def snapshot(around: Path, root: Path) -> dict[str, str]:
    """Describe everything around a workspace; content, size and time of change."""
    found = {}
    for folder, names, files in os.walk(around):
        if Path(folder) == around:
            names[:] = [name for name in names if name != root.name]
        for name in (*names, *files):
            path = Path(folder) / name
            status = path.lstat()
            regular = path.is_file() and not path.is_symlink()
            text = f"{status.st_mode} {status.st_size} {status.st_mtime_ns} {path.read_bytes()!r}" if regular else f"{status.st_mode}"
            found[os.fsdecode(os.fsencode(path.relative_to(around))).encode("utf-8", "backslashreplace").decode()] = text
    return found


def _changes(before: dict[str, str], after: dict[str, str], *, linked: bool) -> str:
    """Tell what is gone, changed or new around a workspace; in a folder that was linked in, files may come and its own may change."""
    for name, text in before.items():
        own = (linked and name.startswith("victim/moved")) or name.startswith(OUTPUT)
        if name not in after and not own:
            return f"{name} was removed"
        if after.get(name, text) != text and not own:
            return f"{name} was changed"
    new = [n for n in after if n not in before and not n.startswith(OUTPUT) and not (linked and n.startswith("victim/"))]
    return f"{new[0]} was written" if new else ""


def _met(around: Path, root: Path, victim: Path, held: dict[str, Any], order: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """In a process of its own: read everything, call the commands, read again; and note what is opened in the folder of the victim."""
    opened: list[str] = []
    inside = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal inside
        if event == "open" and not inside and not isinstance(arguments[0], int):
            inside = True
            try:
                real = os.path.realpath(os.fsdecode(arguments[0]))
            except ValueError:
                real = ""
            inside = False
            if real.startswith(str(victim)) and os.path.isfile(real):
                opened.append(real)

    sys.addaudithook(watch)
    data = {MASKS: str(around / "data" / "masks"), PHOTOS: str(around / "data" / "images")}
    placed = [tuple(str(around / word) if word.startswith(OUTPUT) else data.get(word, word) for word in words) for words in order]
    ends = [asdict(call(root, words, stages_of(root))) for words in placed]
    readings = {**contents(root), **said_of(root, held)}
    return {"opened": opened, "readings": readings, "said": ends}
