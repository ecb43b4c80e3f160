"""What reads what among the instances of a workspace, and how each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.errors import LabelsegError
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.graph import GROUND_TRUTH, SPLIT_PARAM, NodeId, resolve

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


@dataclass(frozen=True)
class Read:
    """One thing that an instance reads.

    Attributes:
        role: The parameter that names it.
        instance: Who plays the role.
        split: Empty for a model and for the ground truth.
    """

    role: str
    instance: str
    split: str = ""


@dataclass(frozen=True)
class Dependency:
    """An instance in a split, how it stands, and what it reads.

    Attributes:
        instance, split: The node; the split of a model is empty.
        state: As ``status`` tells it.
        reads: In the order of declaration.
        recorded: Whether ``reads`` is what the artifact has recorded, since the configuration no longer explains it.
    """

    instance: str
    split: str
    state: str
    reads: tuple[Read, ...] = ()
    recorded: bool = False


def dependencies(workspace: Workspace) -> list[Dependency]:
    """List what ``status`` lists, parents first, with what each reads.

    Raises:
        UsageError: the configuration is wrong.
        ArtifactError: a ref is damaged.
    """
    found = []
    for row in workspace.status():
        try:
            node = resolve(workspace.config, row.instance, row.split)[-1]
        except LabelsegError:
            ref = workspace.ref(row.instance, row.split)
            reads = () if ref is None else tuple(recorded_reads(workspace, ref.recipe, ref.split).values())
            found.append(Dependency(row.instance, row.split, row.state, reads, True))
            continue
        reads = tuple(Read(node.stage.option(p.role), p.instance, p.node.split if p.node else "") for p in node.parents)
        found.append(Dependency(row.instance, row.split, row.state, reads))
    return found


def mermaid(found: list[Dependency]) -> str:
    """Write the dependencies as a Mermaid flow chart, arrows from what is read to what reads it."""
    nodes = {NodeId(entry.instance, entry.split): entry.state for entry in found}
    for entry in found:
        for read in entry.reads:
            nodes.setdefault(NodeId(read.instance, read.split), "" if read.instance == GROUND_TRUTH else "missing")
    names = {node_id: f"n{position}" for position, node_id in enumerate(nodes)}
    lines = ["flowchart LR"]
    for node_id, state in nodes.items():
        label = _escaped(str(node_id)) + (f"<br/>{state}" if state else "")
        lines.append(f'  {names[node_id]}["{label}"]')
    for entry in found:
        for read in entry.reads:
            source, target = names[NodeId(read.instance, read.split)], names[NodeId(entry.instance, entry.split)]
            lines.append(f'  {source} -->|"{_escaped(read.role)}"| {target}')
    return "\n".join(lines)


def recorded_reads(workspace: Workspace, recipe: Mapping[str, Any], split: str) -> dict[str, Read]:
    """Map each role in the recipe of an artifact, made in a split, to what played it."""
    maker = workspace.stages.get(recipe.get("stage", ""))
    read_split = recipe.get("splits", {}).get(SPLIT_PARAM, "") or split
    found = {}
    for role, source in recipe.get("sources", {}).items():
        instance = source["instance"]
        stage = workspace.stages.get(stage_of(instance))
        plain = instance == GROUND_TRUTH or (stage is not None and stage.kind == "model")
        found[role] = Read(role if maker is None else maker.option(role), instance, "" if plain else read_split)
    return found


def _escaped(text: str) -> str:
    """Write what Mermaid would take for its own as entities."""
    return "".join(f"#{ord(c)};" if c in '"#<>&;|[]' or not c.isprintable() else c for c in text)
