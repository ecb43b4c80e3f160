"""What is there already of a result that is to be made; plain JSON, without the arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

from labelseg.pipeline.plan.decisions import Decision, Entry, Standing
from labelseg.pipeline.plan.graph import SPLIT_PARAM, NodeId
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.store.headers import PartHeader, is_in_place, part_path
from labelseg.pipeline.store.manifests import Catalog, Location, Manifest
from labelseg.pipeline.store.sweeping import readable_headers


@dataclass(frozen=True)
class MapWork:
    """The items of a map.

    Attributes:
        entries: All of them.
        keys: Id -> key.
        places: (id, key) -> part, index in it and digest, of the items that lie on disk; empty where all are to be made again.
    """

    entries: list[Entry]
    keys: Mapping[str, str]
    places: Mapping[tuple[str, str], Location]

    @cached_property
    def todo(self) -> list[Entry]:
        """The items to compute."""
        return [entry for entry in self.entries if (entry.id, self.keys[entry.id]) not in self.places]


@dataclass(frozen=True)
class Prospect:
    """What work on a node can build on: the whole result, made before, or the items of a map.

    Attributes:
        manifest: The whole result; None where it has to be made.
        found_as: The decision under whose key it was found, where its parameters are written otherwise and amount to the same.
        work: The items of a map; None for a model, and where the whole is there.
    """

    manifest: Manifest | None = None
    found_as: Decision | None = None
    work: MapWork | None = None

    def standing(self, decision: Decision) -> Standing:
        """Tell what readers of a node find while it is worked on: the whole result where it is there, else what will change."""
        if self.manifest is None:
            return Standing(decision.recipe, decision.ref, False)
        return Standing(decision.recipe, self.manifest.as_ref(*decision.node.id), True)


def look_up(planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing], *, forced: bool) -> Prospect:
    """Find what is there of the result of a node whose inputs are known.

    Args:
        planner: Keys and items.
        decision: What the node needs.
        standings: How the nodes stand that it reads.
        forced: Whether to look for nothing, so that all is made again.
    """
    node = decision.node
    headers = cache(partial(_headers, planner, decision))
    whole = None if forced else _whole(planner, decision, standings, headers)
    if whole is not None:
        return whole
    if node.is_model:
        return Prospect()
    entries = planner.entries(node, SPLIT_PARAM, standings)
    keys = planner.item_keys(decision.recipe, node, decision.inputs or {}, entries)
    return Prospect(work=MapWork(entries, keys, {} if forced else _finished_items(planner, decision, headers())))


def foreseen(planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing]) -> Standing:
    """Tell what the readers of a node will find after a run: a whole result that was made before serves them again."""
    if decision.standing.settled or decision.key is None:
        return decision.standing
    whole = _whole(planner, decision, standings, cache(partial(_headers, planner, decision)))
    return decision.standing if whole is None else whole.standing(decision)


def _headers(planner: Planner, decision: Decision) -> list[PartHeader]:
    """Read the headers of all parts of the stage of a node."""
    return list(readable_headers(planner.catalog.root, decision.node.stage.name))


def _whole(
    planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing], headers: Callable[[], list[PartHeader]]
) -> Prospect | None:
    """Find the whole result of a node; the headers are read only where it does not lie under the key that the node needs."""
    for same in _ways(planner, decision, standings, headers):
        known = _reusable(planner.catalog, same)
        if known is not None and not known.failed:
            return Prospect(known, same)
    return None


def _ways(
    planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing], headers: Callable[[], list[PartHeader]]
) -> Iterator[Decision]:
    """Yield a decision, then the same with parameters as they lie on disk where those amount to the same under today's declaration."""
    yield decision
    node, tried = decision.node, [decision.recipe["params"]]
    for header in headers():
        params = header.header.get("params")
        if header.header.get("version") != node.stage.version or params in tried:
            continue
        tried.append(params)
        recipe = planner.as_recorded(decision.recipe, {**decision.recipe, "params": params})
        if recipe["params"] == params:
            yield replace(decision, recipe=recipe, key=planner.key(node, recipe, decision.inputs or {}, None, standings))


def _finished_items(planner: Planner, decision: Decision, headers: Iterable[PartHeader]) -> dict[tuple[str, str], Location]:
    """Map (id, key) of every item that lies on disk to its place; what the node stands for now comes before other parts."""
    stage = decision.node.stage.name
    rows = [(item.id, item.key, Location(part.part_id, item.index, item.digest)) for part in headers for item in part.items]
    places = {(image_id, key): place for image_id, key, place in rows}
    manifest = None if decision.ref is None else planner.catalog.sound(stage, decision.ref.key)
    if manifest is not None:
        there = set(rows)
        named = ((item.id, item.key, Location(item.part, item.index, item.digest)) for item in manifest.items)
        places |= {(row[0], row[1]): row[2] for row in named if row in there}
    return places


def _reusable(catalog: Catalog, decision: Decision) -> Manifest | None:
    """Read the manifest of the key that a node needs, if there is one and all that it names is there."""
    stage = decision.node.stage.name
    manifest = catalog.sound(stage, str(decision.key))
    if manifest is None or not all(is_in_place(part_path(catalog.root, stage, part)) for part in manifest.parts):
        return None
    return manifest
