"""Run labelseg commands and write what they measured to JSON, after every step, so that nothing is measured twice."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SETTINGS = HERE / "settings"


def labelseg(workspace: Path, *arguments: str, capture: bool = False) -> str:
    """Run one command in the workspace; its talk goes to the terminal."""
    command = [sys.executable, "-m", "labelseg", "-C", str(workspace), *arguments]
    print("$ labelseg", *arguments, flush=True)
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if capture else None)
    return done.stdout or ""


def make_workspace(
    workspace: Path, data: Path, weights: Path, seed: int, settings: str, lists: Iterable[str], folder: str = "splits"
) -> None:
    """Write lists and settings on a folder of data: images, masks, image_labels.csv, classes.txt and lists.

    Args:
        settings: Tables of ``labelseg.toml``; ``@WEIGHTS@`` and ``seed = 0`` in them are filled in.
        lists: Names of the lists to copy.
        folder: Where the workspace looks for lists.
    """
    (workspace / folder).mkdir(parents=True, exist_ok=True)
    for name in lists:
        (workspace / folder / f"{name}.txt").write_text((data / f"{name}.txt").read_text())
    config = (
        f'[data]\nimages = "{data}/images"\nlabels = "{data}/image_labels.csv"\nmasks = "{data}/masks"\n'
        f'classes = "{data}/classes.txt"\nsplits = "{folder}"\n\n'
    )
    filled = settings.replace("@WEIGHTS@", str(weights)).replace("seed = 0", f"seed = {seed}")
    (workspace / "labelseg.toml").write_text(config + filled)


def copy_finished(workspace: Path, finished: Path, instances: Collection[str]) -> None:
    """Copy instances of a finished workspace, its lists and its settings, unless that is done; files share bytes where the disk can.

    Args:
        workspace: The copy; what lies there of a copy that was interrupted is removed.
        finished: Stays as it is. What a running chain does not touch any more may be copied while it runs.
        instances: Of the stages that are read; of others no ref is taken.

    Raises:
        SystemExit: one of them has not run, or is not as this version would make it.
    """
    if not (workspace / "labelseg.toml").exists():
        store, own = finished / ".labelseg", workspace / ".labelseg"
        if wanted := [name for name in instances if not any((store / "refs" / name).glob("*.json"))]:
            raise SystemExit(
                f"{finished}: expected {', '.join(instances)} to have run, found no {', '.join(wanted)}. Start it again when they have."
            )
        shutil.rmtree(workspace, ignore_errors=True)
        stages = dict.fromkeys(name.partition("@")[0] for name in instances)
        for part, names in (("refs", instances), ("manifests", stages), ("objects", stages)):
            (own / part).mkdir(parents=True, exist_ok=True)
            for name in names:
                subprocess.run(["cp", "-r", "--reflink=auto", str(store / part / name), str(own / part / name)], check=True)
        if (store / "files.json").exists():
            shutil.copy(store / "files.json", own / "files.json")
        shutil.copytree(finished / "splits", workspace / "splits")
        shutil.copy(finished / "labelseg.toml", workspace / "labelseg.toml")
    rows = json.loads(labelseg(workspace, "status", "--json", capture=True))
    states = {row["instance"]: row["state"] for row in rows if row.get("split") in (None, "", "train")}
    wrong = {name: states.get(name, "missing") for name in instances if states.get(name) != "fresh"}
    if wrong:
        raise SystemExit(f"{workspace}: expected all of {', '.join(instances)} to be fresh, found {wrong}. Remove this copy when they are.")


def origin(command: str) -> dict[str, str]:
    """Where a result comes from: command, commit, machine."""
    return {
        "command": command,
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
        "machine": f"{_cores()}, {platform.machine()}, Python {platform.python_version()}",
    }


def _cores() -> str:
    """Cores of the machine, and how many of them this process may use where that is fewer."""
    cores, used = os.cpu_count() or 1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores" if used == cores else f"{used} of {cores} cores"


class Result:
    """The JSON of a benchmark with a seed.

    Args:
        name: Name of the file under ``benchmarks/results``.
        command: What gives the result.
        seed: Seed of the run.
    """

    def __init__(self, name: str, command: str, seed: int, **notes: Any) -> None:
        self.path = HERE / "results" / f"{name}.json"
        self.values: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.values.update(origin(command), seed=seed, **notes)

    def add(self, group: str, name: str, value: Any) -> None:
        """Record a value and write the file."""
        self.values.setdefault(group, {})[name] = value
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.values, indent=1) + "\n")

    def score(self, workspace: Path, name: str, instance: str, split: str, on: str = "") -> None:
        """Evaluate an instance and record it."""
        options = ["--split", split, *(["--on", on] if on else [])]
        rows = json.loads(labelseg(workspace, "evaluate", instance, *options, "--json", capture=True))
        self.add("miou", f"{name} on {on or split}", rows[0])

    def stages(self, workspace: Path) -> None:
        """Record items and seconds of every stage, in place of what was recorded before."""
        self.values["stages"] = {}
        for row in json.loads(labelseg(workspace, "status", "--json", capture=True)):
            key = row["instance"] + (f" {row['split']}" if row.get("split") else "")
            self.add("stages", key, {"items": row.get("items"), "seconds": row.get("seconds"), "state": row.get("state")})

    def size(self, workspace: Path, instance: str, split: str) -> None:
        """Record the bytes that an artifact takes on disk, an image."""
        shown = json.loads(labelseg(workspace, "show", instance, "--split", split, "--json", capture=True))
        self.add("bytes an image", instance, round(shown["bytes"] / shown["items"]))
