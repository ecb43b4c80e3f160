"""What the runs of a workspace did, read from the logs that they left; plain JSON, without the arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.files.seals import intact_seal
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.plan.runlog import Markers, place_of_line

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.workspace import Workspace

ENDS = ("done", "failed", "waiting", "interrupted")
# What each field of a record is; a line in which one is something else was not written by a run.
TEXTS = ("instance", "split", "action", "error", "purpose", "target", "version", "tag")
KINDS = {**dict.fromkeys(TEXTS, str), "reasons": list, "params": dict}
NUMBERS = ("computed", "total", "failed", "seconds", "lines", "failures")


@dataclass(frozen=True, kw_only=True)
class NodeRecord:
    """What a run did for one node.

    Attributes:
        instance, split: The node; the split of a model is empty.
        action: ``computed``, ``trained``, ``reused``, ``failed``, ``waiting``, ``interrupted`` or ``running``.
        started: When work on it began, ISO 8601.
        reasons: Why it was worked on.
        computed, total, failed: Images computed, there, and failed; tensors for a model.
        seconds: How long it took; of interrupted work up to the last line of the log.
        error: The first error, where there was one.
    """

    instance: str
    split: str
    action: str
    started: str
    reasons: tuple[str, ...] = ()
    computed: int = 0
    total: int = 0
    failed: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run did.

    Attributes:
        id: Name of its folder; ids sort by time.
        started, ended: Times of the first and the last line of its log, ISO 8601.
        state: ``done``, ``items failed``, ``waiting``, ``failed``, ``interrupted``, ``running``, or ``unreadable`` where no line is left.
        seconds: Time spent on the nodes.
        purpose, target, split, params, version, tag: What was asked for, and of which labelseg; empty in logs that do not tell.
        nodes: What was done, in order.
        failures: ``{"instance", "split", "id", "error"}`` for each image that failed.
        unreadable: Number of lines that are damaged or none of ours.
        missing: Number of lines that are gone, those of failed images too; None where a log has no end: the run goes on, or was killed.
    """

    id: str
    started: str
    ended: str
    state: str
    seconds: float
    purpose: str = ""
    target: str = ""
    split: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    tag: str = ""
    nodes: tuple[NodeRecord, ...] = ()
    failures: tuple[dict[str, str], ...] = ()
    unreadable: int = 0
    missing: int | None = 0

    @property
    def first_error(self) -> str:
        """The first error of any node; empty where there was none."""
        return next((node.error for node in self.nodes if node.error), "")


def run_ids(folder: Path) -> list[str]:
    """List the runs that left a log in a ``.labelseg`` folder, the newest first."""
    logs = [path for path in (folder / "runs").glob("*/log.jsonl") if path.is_file()]
    # Ids tell the second; of two runs within one, the file that was written last is that of the later one.
    return [log.parent.name for log in sorted(logs, key=lambda log: (log.parent.name[:15], log.stat().st_mtime_ns), reverse=True)]


def runs(folder: Path) -> Iterator[RunRecord]:
    """Read the runs of a ``.labelseg`` folder one by one, the newest first."""
    return (read_run(folder, run) for run in run_ids(folder))


def paces(folder: Path, most: int = 20) -> dict[str, float]:
    """Tell how long work took in the last runs: seconds an image of each map, seconds of each training.

    Args:
        folder: The ``.labelseg`` folder.
        most: Runs to read.

    Returns:
        Instance, and stage for other instances of it -> seconds; of several runs the last one, and of an instance its own.
    """
    own: dict[str, float] = {}
    others: dict[str, float] = {}
    for record in islice(runs(folder), most):
        for node in record.nodes:
            seconds = {"trained": node.seconds, "computed": node.seconds / max(node.computed, 1)}.get(node.action)
            if seconds is not None and (node.computed or node.action == "trained"):
                own.setdefault(node.instance, seconds)
                others.setdefault(stage_of(node.instance), seconds)
    return others | own


def logless(workspace: Workspace) -> list[Ref]:
    """List a ref for each run that something came from and that has left no log: ``gc`` keeps such logs."""
    there = set(run_ids(workspace.folder))
    return list({ref.run: ref for ref in workspace.catalog.refs(tagged=True) if ref.run and ref.run not in there}.values())


def read_run(folder: Path, run: str) -> RunRecord:
    """Read what one run did; damaged lines are left out and counted.

    Args:
        folder: The ``.labelseg`` folder.
        run: Id of a run that left a log.
    """
    events, unreadable = _lines(folder / "runs" / run / "log.jsonl")
    failures, damaged = _lines(folder / "runs" / run / "failed.jsonl")
    asked: Mapping[str, Any] = next((event for event in events if event.get("event") == "run"), {})
    nodes = tuple(_end(node, folder, run, events) for node in _nodes(events))
    times = [event["time"] for event in events] or [""]
    return RunRecord(
        id=run,
        started=times[0],
        ended=times[-1],
        state=_state(nodes) if events else "unreadable",
        seconds=round(sum(node.seconds for node in nodes), 3),
        **{name: asked.get(name, "") for name in ("purpose", "target", "split", "version", "tag")},
        params=asked.get("params") or {},
        nodes=nodes,
        failures=tuple({name: str(line.get(name, "")) for name in ("instance", "split", "id", "error")} for line in failures),
        unreadable=unreadable + damaged,
        missing=_missing(events, len(events) + unreadable, len(failures) + damaged),
    )


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read the records of a log, and count the lines that hold none."""
    if not path.is_file():
        return [], 0
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    except OSError:
        return [], 1
    sealed = any(b'"seal": "' in line for line in lines)  # logs of earlier versions have no seals
    place = place_of_line(path.parent.name, path.name) if sealed else None
    found = [record for record in (_record(line, place) for line in lines) if record is not None]
    return found, len(lines) - len(found)


def _missing(events: list[dict[str, Any]], lines: int, failures: int) -> int | None:
    """Count the lines that a log has lost, and those of failed items; None where it has no end. Earlier ends count no failures."""
    if not events or "seal" not in events[0]:
        return 0
    ends = [event for event in events if event.get("event") == "end" and event.get("lines") is not None]
    return max(0, int(ends[-1]["lines"]) + 1 - lines) + max(0, int(ends[-1].get("failures") or 0) - failures) if ends else None


def _record(line: bytes, place: bytes | None) -> dict[str, Any] | None:
    """Read a line; None where it is damaged, was written by something else or belongs to another place."""
    try:
        if place is not None:
            intact_seal(line, place)
        record = json.loads(line)
        zone = datetime.fromisoformat(record["time"]).tzinfo
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    fits = all(record.get(name) is None or isinstance(record[name], kind) for name, kind in KINDS.items())
    counts = all(_is_count(record.get(name)) for name in NUMBERS)
    named = record.get("event") not in ("start", *ENDS) or isinstance(record.get("instance"), str)
    return record if zone is not None and fits and counts and named else None


def _is_count(value: object) -> bool:
    """Whether a value may stand where a number is expected."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0)


def _nodes(events: list[dict[str, Any]]) -> list[NodeRecord]:
    """Pair the beginnings of work with its ends; what did not end has the action ``running``."""
    found: dict[NodeId, NodeRecord] = {}
    for event in events:
        if event.get("event") not in ("start", *ENDS):
            continue
        node_id = NodeId(event["instance"], event.get("split") or "")
        begun = found.get(node_id)
        record = NodeRecord(
            instance=node_id.instance,
            split=node_id.split,
            action="running" if event["event"] == "start" else event.get("action") or event["event"],
            started=event["time"] if begun is None else begun.started,
            reasons=tuple(map(str, event.get("reasons") or (begun.reasons if begun else ()))),
            computed=int(event.get("computed") or 0),
            total=int(event.get("total") or 0),
            failed=int(event.get("failed") or 0),
            seconds=float(event.get("seconds") or 0.0),
            error=event.get("error") or "",
        )
        found[node_id] = record
    return list(found.values())


def _end(node: NodeRecord, folder: Path, run: str, events: list[dict[str, Any]]) -> NodeRecord:
    """Tell of work without an end whether it goes on."""
    if node.action not in ("running", "interrupted"):
        return node
    marker = Markers(folder).read(NodeId(node.instance, node.split))
    own = marker if marker is not None and marker.run == run else None
    going = node.action == "running" and own is not None and own.state == "running" and own.alive
    lasted = datetime.fromisoformat(events[-1]["time"]) - datetime.fromisoformat(node.started)
    error = node.error or ("" if own is None or own.message == "interrupted" else own.message)
    action = "running" if going else "failed" if error else "interrupted"
    return replace(node, action=action, seconds=max(node.seconds, lasted.total_seconds(), 0.0), error=error)


def _state(nodes: tuple[NodeRecord, ...]) -> str:
    """Sum up how a run went."""
    actions = {node.action for node in nodes} or {"interrupted"}
    for state in ("running", "interrupted", "failed", "waiting"):
        if state in actions:
            return state
    return "items failed" if any(node.failed for node in nodes) else "done"
