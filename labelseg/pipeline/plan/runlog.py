"""What a run leaves behind: its log, its failed items, and a marker for each node that is not done."""

from __future__ import annotations

import json
import os
import platform
import re
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

from labelseg.file_kinds import odd_kind, open_to_append
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.mishaps import is_disk_full
from labelseg.pipeline.files.paths import below, unlinked
from labelseg.pipeline.files.seals import BLANK, seal
from labelseg.pipeline.plan.graph import NodeId

_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
FAILED = "failed.jsonl"
MarkerState = Literal["running", "failed", "waiting"]


def now() -> str:
    """Return the time in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id() -> str:
    """Make the id of a run: ids sort by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class RunLog:
    """The folder ``runs/<id>`` of one run; it is made with the first line. Picklable, so that loader workers can write too.

    Args:
        root: The ``.labelseg`` folder.
        id: Id of the run.
    """

    root: Path
    id: str = field(default_factory=new_run_id)

    @property
    def folder(self) -> Path:
        """Where the files of the run lie."""
        return below(self.root / "runs", self.id)

    def event(self, values: Mapping[str, Any]) -> None:
        """Append one line to ``log.jsonl``."""
        self._append("log.jsonl", values)

    def end(self) -> None:
        """Append how many lines ``log.jsonl`` and ``failed.jsonl`` have, as the last line of the first, if that has any."""
        lines, failures = (_count_lines(self.folder / name) for name in ("log.jsonl", FAILED))
        if lines:
            self.event({"event": "end", "lines": lines, "failures": failures})

    def failed_item(self, node: NodeId, image_id: str, error: str, trace: str) -> None:
        """Append one failed item to ``failed.jsonl``."""
        self._append(FAILED, {"instance": node.instance, "split": node.split, "id": image_id, "error": error, "traceback": trace})

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        """Append a line in one write, so that lines of several processes do not mix."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time": now(), **values, "seal": BLANK}, default=_number).encode()
        with open_to_append(self.folder / name) as file:
            file.write(seal(line, place_of_line(self.id, name)) + b"\n")


def _count_lines(path: Path) -> int:
    """Count the lines of a file; 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def place_of_line(run: str, name: str) -> bytes:
    """Tell what the seal of a line covers beside it: the run and the file that it belongs to."""
    return f"{run}/{name}\n".encode()


def old_logs(root: Path, days: float, keep: Collection[str]) -> list[Path]:
    """List the folders of runs that began more than some days ago.

    Args:
        root: The ``.labelseg`` folder.
        days: Age of the youngest one listed.
        keep: Ids of runs to leave out.
    """
    before = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() - days * 86_400))
    return [path for path in unlinked(root, "runs/*") if _RUN_ID.fullmatch(path.name) and path.name < before and path.name not in keep]


@dataclass(frozen=True)
class Marker:
    """Says that a node was begun and did not finish.

    Attributes:
        state: ``running`` until the process ends one way or the other; also what a killed process leaves behind.
        message: The error, or the question that a person has to answer.
        run, pid, started: Which run, which process, since when.
        host: On which machine that process runs.
        answered: Where it waits, the bytes that the file of answers had when it looked; -1 where it does not wait.
        birth: When that process began, in ticks of the machine, where that can be known: another one may have got its number.
    """

    state: MarkerState
    message: str = ""
    run: str = ""
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=now)
    host: str = field(default_factory=platform.node)
    answered: int = -1
    birth: str = field(default_factory=lambda: _birth(os.getpid()))

    @property
    def alive(self) -> bool:
        """Whether the process that began still runs; known on POSIX only, where signal 0 asks and does nothing.

        Of a process on another machine nothing is known: it counts as running.
        """
        if self.host != platform.node():
            return True
        if os.name != "posix":
            return self.pid == os.getpid()
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return _birth(self.pid) == self.birth


def _birth(pid: int) -> str:
    """Tell when a process began; empty where the system does not say (it is Linux that does, in /proc)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name of the process, in parentheses, may hold anything; start time is the 20th field after it.
        return f"{boot} {Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return ""


class Markers:
    """The markers of a workspace, ``runs/markers/<instance>~<split>.json``.

    Args:
        root: The ``.labelseg`` folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "runs" / "markers"

    def read(self, node: NodeId) -> Marker | None:
        """Read the marker of a node; None where its last run finished, or where the file cannot be read."""
        return _read_marker(self._path(node))

    def all(self) -> list[Marker]:
        """Read all markers that can be read."""
        return [marker for path in sorted(self._folder.glob("*.json")) if (marker := _read_marker(path)) is not None]

    def write(self, node: NodeId, marker: Marker) -> None:
        """Mark a node; on a full disk in the place of the marker that is there, which needs no more room."""
        path, data = self._path(node), json.dumps(vars(marker)).encode()
        try:
            write_atomically(path, data)
        except OSError as error:
            if not is_disk_full(error):
                raise
            with path.open("r+b") as file:
                file.write(data)
                file.truncate()

    def clear(self, node: NodeId) -> None:
        """Remove the marker of a node."""
        self._path(node).unlink(missing_ok=True)

    def _path(self, node: NodeId) -> Path:
        """Where the marker of a node lies."""
        return below(self._folder, f"{quote(node.instance, safe='@')}~{quote(node.split, safe='')}.json")


def _read_marker(path: Path) -> Marker | None:
    """Read a marker; None where there is none, or none that can be read."""
    try:
        return None if odd_kind(path) else _checked(Marker(**json.loads(path.read_bytes())))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _checked(marker: Marker) -> Marker:
    """Accept a marker whose values are what they should be.

    Raises:
        ValueError: they are not.
    """
    texts = (marker.state, marker.message, marker.run, marker.started, marker.host, marker.birth)
    if not all(isinstance(text, str) for text in texts) or marker.state not in get_args(MarkerState):
        raise ValueError("not a marker")
    if type(marker.pid) is not int or not 0 < marker.pid < 1 << 31 or type(marker.answered) is not int:
        raise ValueError("not the number of a process, or of bytes")
    return marker


def _number(value: Any) -> Any:
    """Turn numbers of array libraries into plain ones."""
    return value.item() if hasattr(value, "item") else str(value)
