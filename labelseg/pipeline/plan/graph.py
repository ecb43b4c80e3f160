"""Which instances a target reads, and in which splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.stage import Source, Stage
from labelseg.pipeline.instances import stage_of

if TYPE_CHECKING:
    from labelseg.protocols import Kind

GROUND_TRUTH = "masks"
SPLIT_PARAM = "split"


class NodeId(NamedTuple):
    """An instance in a split; the split of a model is empty."""

    instance: str
    split: str

    def __str__(self) -> str:
        return f"{self.instance} ({self.split})" if self.split else self.instance


@dataclass(frozen=True)
class Parent:
    """What a node reads in one role; ``node`` is None where that is the ground truth of the data."""

    role: str
    instance: str
    node: NodeId | None
    is_model: bool


@dataclass(frozen=True)
class Node:
    """One instance to bring up to date in one split, with its parameters and what it reads."""

    id: NodeId
    stage: Stage
    params: Any
    parents: tuple[Parent, ...]

    @property
    def instance(self) -> str:
        """``cam`` or ``cam@wide``."""
        return self.id.instance

    @property
    def split(self) -> str:
        """The split of a map; empty for a model."""
        return self.id.split

    @property
    def is_model(self) -> bool:
        """Whether the node trains, as opposed to working item by item."""
        return self.stage.kind == "model"

    @property
    def splits(self) -> dict[str, str]:
        """Name -> split whose items the node reads: its own one for a map, those of its split parameters for a model."""
        return self.stage.splits(self.params) if self.is_model else {SPLIT_PARAM: self.split}

    @property
    def asked(self) -> str:
        """The instance whose questions people answer for this node; empty where it reads no answers."""
        return next((parent.instance for parent in self.parents if self.stage.answered and parent.role == self.stage.answered), "")

    @property
    def attached(self) -> str:
        """The folder of files, one for each image, that the node reads; empty where it reads none."""
        return str(getattr(self.params, self.stage.attached)) if self.stage.attached else ""

    @property
    def partial(self) -> bool:
        """Whether the node goes on while questions are open."""
        return bool(getattr(self.params, "partial", False))

    def uses(self, split_param: str) -> tuple[Kind, ...]:
        """Kinds of the data that results depend on, for the items of one of the splits."""
        declared = self.stage.uses(self.params)
        return tuple(declared.get(split_param, ())) if isinstance(declared, Mapping) else tuple(declared)


def resolve(
    config: Config, instance: str, split: str = "", overrides: Mapping[str, Any] | None = None, *, into: dict[NodeId, Node] | None = None
) -> tuple[Node, ...]:
    """List a target and everything it reads, parents first.

    The maps that a map reads are those of its own split; the maps that a model reads are those of its parameter ``split``.

    Args:
        config: The configuration.
        instance: The target.
        split: Split of the target where that is a map; a model ignores it.
        overrides: Parameters of the target that win over the configuration; those shared by a chain do so in all of it.
        into: Nodes found before, to which the new ones are added; None starts anew.

    Raises:
        UsageError: an unknown instance, a source of the wrong kind, a cycle, a map without a split, or something named that is not read.
    """
    found = {} if into is None else into
    changed: dict[str, Mapping[str, Any]] = {}
    if overrides:
        stage, shared = config.stage(instance), config.shared(instance, overrides)
        changed = {name: shared for name in config.instances() if stage_of(name) == stage.name} | {instance: overrides}
    _visit(config, instance, split, changed, found, ())
    return tuple(found.values())


def ancestors(nodes: Iterable[Node], target: NodeId) -> set[NodeId]:
    """Collect the ids of a node and of everything it reads, among nodes in topological order."""
    wanted = {target}
    for node in reversed(tuple(nodes)):
        if node.id in wanted:
            wanted.update(parent.node for parent in node.parents if parent.node is not None)
    return wanted


def _visit(
    config: Config, instance: str, split: str, overrides: Mapping[str, Any], found: dict[NodeId, Node], path: tuple[NodeId, ...]
) -> NodeId:
    """Add a node after its parents; ``path`` leads from the target to it."""
    stage = config.stage(instance)
    node_id = NodeId(instance, "" if stage.kind == "model" else split)
    if node_id in found:
        return node_id
    if node_id in path:
        circle = " reads ".join(str(step) for step in (*path[path.index(node_id) :], node_id))
        raise UsageError(f"{config.path.name}: {circle}. Let one of them read something else.")
    if stage.kind == "map" and not split:
        raise UsageError(f"{instance} works on a split. Name one: --split train")
    params = config.params(instance, overrides.get(instance))
    _refuse_unread(config, instance, params, overrides.get(instance, {}))
    read_split = stage.splits(params).get(SPLIT_PARAM, "") if stage.kind == "model" else split
    parents = []
    for source in stage.sources(params):
        where = f"{instance} --{source.param.replace('_', '-')} {source.instance}"
        parent_stage = _source_stage(config, source, where)
        if parent_stage is None:
            parents.append(Parent(source.role, GROUND_TRUTH, None, False))
            continue
        if source.link is not None:
            _demand_link(config, instance, getattr(params, stage.numbered), source, overrides, where)
        if parent_stage.kind == "map" and not read_split:
            raise UsageError(f"{where}: {instance} names no split to read it in. Name one: --split train")
        parent_id = _visit(config, source.instance, read_split, overrides, found, (*path, node_id))
        parents.append(Parent(source.role, source.instance, parent_id, parent_stage.kind == "model"))
    found[node_id] = Node(node_id, stage, params, tuple(parents))
    return node_id


def _demand_link(config: Config, instance: str, number: int, source: Source, overrides: Mapping[str, Any], where: str) -> None:
    """Refuse a link of a chain that is of another stage, or that leaves numbers out or takes one twice."""
    assert source.link is not None  # whoever calls has looked
    wanted, behind = source.link
    stage = config.stage(source.instance)
    if stage.name != wanted:
        raise UsageError(f"{where}: expected an instance of {wanted}, got one of {stage.name}.")
    there = getattr(config.params(source.instance, overrides.get(source.instance)), stage.numbered)
    if there != number - behind:
        option = stage.numbered.replace("_", "-")
        raise UsageError(
            f"{where}: its {stage.numbered} is {there}, expected {number - behind}, as that of {instance} is {number}. "
            f"Name another instance, or give {instance} its own number: --{option} {there + behind}"
        )


def _refuse_unread(config: Config, instance: str, params: Any, overrides: Mapping[str, Any]) -> None:
    """Refuse a source or a split that is named for this very instance and not read; one named for its whole stage is for others."""
    named = {**config.own(instance), **{name: f"{instance} --{name.replace('_', '-')}" for name in overrides}}
    for name, value in config.stage(instance).unread(params).items():
        if name in named:
            raise UsageError(f"{named[name]}: under its other parameters {instance} does not read {name} '{value}'. Leave it out.")


def _source_stage(config: Config, source: Source, where: str) -> Stage | None:
    """Find the stage that a source names and check that it provides what is read; None for the ground truth."""
    if source.kind == "labels" and source.instance == GROUND_TRUTH:
        return None
    try:
        stage = config.stage(source.instance)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if source.kind == "labels" and not (stage.kind == "map" and stage.has_masks):
        able = [s.name for s in config.stages.values() if s.kind == "map" and s.has_masks]
        raise UsageError(f"{where}: {stage.name} writes no masks. Name one of: {', '.join([GROUND_TRUTH, *able])}.")
    if source.kind == "questions" and not stage.asks:
        able = [s.name for s in config.stages.values() if s.asks]
        raise UsageError(f"{where}: {stage.name} asks nothing. Name one of: {', '.join(able)}.")
    if source.kind == "features" and not stage.has_features:
        able = [s.name for s in config.stages.values() if s.has_features]
        raise UsageError(f"{where}: {stage.name} writes no features. Name one of: {', '.join(able)}.")
    if source.kind in ("map", "model") and stage.kind != source.kind:
        expected = "trains no model" if source.kind == "model" else "is a model, not maps of a split"
        able = [s.name for s in config.stages.values() if s.kind == source.kind]
        raise UsageError(f"{where}: {stage.name} {expected}. Name one of: {', '.join(able)}.")
    return stage
