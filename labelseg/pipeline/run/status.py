"""The state of everything in a workspace, and why; reads plain JSON only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.answers.answer_files import answered_bytes
from labelseg.errors import LabelsegError
from labelseg.pipeline.instances import is_named, stage_of
from labelseg.pipeline.plan.decisions import Decision, Standing
from labelseg.pipeline.plan.graph import Node, NodeId, resolve
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.plan.reasons import Reason, State
from labelseg.pipeline.plan.runlog import Marker, Markers
from labelseg.pipeline.run.prospect import foreseen
from labelseg.pipeline.store.manifests import Ref, ref_names

if TYPE_CHECKING:
    from labelseg.pipeline.declare.config import Config
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike


@dataclass(frozen=True)
class StatusRow:
    """One line of the status.

    Attributes:
        instance, split: The node; the split of a model is empty.
        state: What it is.
        reasons: Why it is not fresh.
        items: Items, or tensors of a model, that are there.
        failed: Items that failed.
        seconds: How long the last computation took.
        created: When that was, ISO 8601; empty where there was none.
    """

    instance: str
    split: str
    state: State
    reasons: tuple[Reason, ...] = ()
    items: int = 0
    failed: int = 0
    seconds: float = 0.0
    created: str = ""

    @property
    def fresh(self) -> bool:
        """Whether nothing needs to be done."""
        return self.state == "fresh"


def status(workspace: WorkspaceLike) -> list[StatusRow]:
    """Tell the state of the run's target and all it reads, of every named instance, and of everything that was ever finished.

    Returns:
        Rows in the order in which they would be computed.

    Raises:
        UsageError: the configuration is wrong.
    """
    markers, refs = Markers(workspace.folder), _refs(workspace)
    rows = []
    for node_id, found in _checked(workspace, refs):
        if isinstance(found, Decision):
            marker = markers.read(node_id)
            rows.append(_row(found, None if _answered_since(workspace.root, found, marker) else marker))
        else:
            rows.append(_unknown(node_id, refs.get(node_id), found, is_damaged=node_id in refs and refs[node_id] is None))
    return rows


def wanted_keys(workspace: WorkspaceLike) -> set[tuple[str, str | None]]:
    """List (stage, key) of what the configuration asks for now, finished or not; the key is None where it cannot be told yet, or at all."""
    return {
        (stage_of(node_id.instance), found.key if isinstance(found, Decision) else None)
        for node_id, found in _checked(workspace, _refs(workspace))
    }


def _refs(workspace: WorkspaceLike) -> dict[NodeId, Ref | None]:
    """Map every node that has a ref to it; to None where that is damaged, as the planner then tells."""
    found: dict[NodeId, Ref | None] = {}
    for path, ref in workspace.catalog.ref_files():
        if isinstance(ref, Ref):
            found[NodeId(ref.instance, ref.split)] = ref
        else:
            found.setdefault(NodeId(*ref_names(path)), None)
    return found


def _checked(workspace: WorkspaceLike, refs: Mapping[NodeId, Ref | None]) -> Iterator[tuple[NodeId, Decision | str]]:
    """Decide about every node, parents first; where that cannot be done, say why."""
    nodes, broken = _nodes(workspace.config, refs)
    planner = Planner(workspace.dataset, workspace.catalog, workspace.index, workspace.root)
    standings: dict[NodeId, Standing] = {}
    for node in nodes:
        if any(parent.node is not None and parent.node not in standings for parent in node.parents):
            yield node.id, "something it reads cannot be checked"
            continue
        try:
            decision = planner.decide(node, standings)
        except LabelsegError as error:
            yield node.id, str(error)
            continue
        standings[node.id] = foreseen(planner, decision, standings)
        yield node.id, decision
    yield from broken.items()


def _nodes(config: Config, refs: Mapping[NodeId, Ref | None]) -> tuple[tuple[Node, ...], dict[NodeId, str]]:
    """List the nodes to tell of, parents first, and those that the configuration no longer explains, with the reason."""
    found: dict[NodeId, Node] = {}
    if config.run.get("target"):
        resolve(config, config.run["target"], config.split_of(config.run["target"]), into=found)
    finished = {node_id.instance for node_id in refs}
    unfinished = [name for name in config.instances() if is_named(name) and name not in finished]
    broken = {}
    for node_id in (*(NodeId(name, config.split_of(name)) for name in unfinished), *refs):
        try:
            resolve(config, node_id.instance, node_id.split, into=found)
        except LabelsegError as error:
            gone = node_id.instance not in config.instances()
            broken[node_id] = f"{error}{' To remove what it made: labelseg gc' if gone else ''}"
    return tuple(found.values()), broken


def _answered_since(root: Path, decision: Decision, marker: Marker | None) -> bool:
    """Whether people have answered since a node began to wait for them: how many questions are open, only its next run tells."""
    if marker is None or marker.state != "waiting" or not decision.node.asked:
        return False
    return answered_bytes(root, decision.node.asked) != marker.answered >= 0


def _row(decision: Decision, marker: Marker | None) -> StatusRow:
    """Combine what a node needs with what its last run left behind."""
    state, reasons, ref = decision.state, decision.reasons, decision.ref
    if marker is not None and state != "fresh":
        if marker.state == "waiting":
            state, reasons = "waiting", (Reason("asked", after=marker.message), *reasons)
        elif marker.state == "running" and marker.alive:
            who = {"started": marker.started, "pid": marker.pid, "host": marker.host}
            state, reasons = "running", (Reason("running", after=who), *reasons)
        else:
            left = Reason("run-failed", after=marker.message) if marker.message else Reason("run-killed")
            state, reasons = "failed", (left, *reasons)
    if ref is None:
        return StatusRow(decision.node.instance, decision.node.split, state, reasons)
    return StatusRow(decision.node.instance, decision.node.split, state, reasons, ref.count, ref.failed, ref.seconds, ref.created)


def _unknown(node_id: NodeId, ref: Ref | None, reason: str, is_damaged: bool) -> StatusRow:
    """Tell of a node that cannot be compared with what it should be."""
    if ref is None:
        state: State = "damaged" if is_damaged else "missing"
        return StatusRow(node_id.instance, node_id.split, state, (Reason("unchecked", after=reason),))
    return StatusRow(
        node_id.instance, node_id.split, "stale", (Reason("unchecked", after=reason),), ref.count, ref.failed, ref.seconds, ref.created
    )
