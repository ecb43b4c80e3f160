"""The part of the results page about a workspace behind an object store."""

from __future__ import annotations

import json
from pathlib import Path

from results_tables import missing, source, table


def store_parts(path: Path) -> list[str]:
    """Write what a store costs on a server of the same machine, what is equal with and without one, and what kills left."""
    if not path.exists():
        return [missing("python -m benchmarks.object_store")]
    found = json.loads(path.read_text())
    seconds, scenes = found["seconds"], found["scenes"]
    rows = [
        [what, _seconds(seconds[f"{what}, local"]), _seconds(seconds[f"{what}, store"]), _seconds(seconds.get(beside, []))]
        for what, beside in (("whole chain", "second folder, run"), ("nothing to do", ""))
    ]
    up, down = found["kills"]["uploads"], found["kills"]["downloads"]
    kills = [
        ["uploads", str(up["kills"]), f"{up['items_read_back']:,} items read back by others are sound; digests {_yes(up['equal'])}"],
        ["downloads", str(down["kills"]), f"`verify` found nothing; digests {_yes(down['equal'])}, stages run {down['computed']}"],
    ]
    times = found["milliseconds"]
    return [
        f"The chain of `labelseg demo` with trainings of one epoch on {scenes['train']} + {scenes['val']} scenes, in the folder alone "
        "and with [an object store](object_store.md) behind it: moto's server on the same machine, one request at a time. Each command "
        f"is a process, its start included. Seconds of processor, which other work hardly changes, and in brackets those on the wall of a "
        f"machine that others used as well (load {found['load']:.1f}); of three the least and the most.",
        table(["`labelseg run --workers 0`", "no store", "store", "second folder with the same data"], rows),
        f"Equal to the folder without a store: {', '.join(name for name, equal in found['equal'].items() if equal)}."
        + ("" if all(found["equal"].values()) else f" **Not**: {', '.join(n for n, equal in found['equal'].items() if not equal)}."),
        "Commands killed (SIGKILL) before or after a request to the store, again and again in one folder, then one that comes to its end:",
        table(["killed at", "kills", "then"], kills),
        "A request to this server, milliseconds: " + ", ".join(f"{name} {value:.1f}" for name, value in times.items()) + ".",
        source([found]),
    ]


def _seconds(values: list[list[float]]) -> str:
    """Write seconds of processor and on the wall, or the least and the most of several."""
    if not values:
        return "-"
    wall, used = ([pair[k] for pair in values] for k in (0, 1))
    if len(values) == 1:
        return f"{used[0]:.1f} s ({wall[0]:.0f})"
    return f"{min(used):.2f} to {max(used):.2f} s ({min(wall):.0f} to {max(wall):.0f})"


def _yes(equal: bool) -> str:
    """Say whether something is equal."""
    return "equal" if equal else "**differ**"
