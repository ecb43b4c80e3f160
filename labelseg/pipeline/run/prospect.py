"""What is there already of a result that is to be made; plain JSON, without the arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.errors import ArtifactError
from labelseg.pipeline.plan.decisions import Decision, Entries, Standing
from labelseg.pipeline.plan.graph import SPLIT_PARAM, NodeId
from labelseg.pipeline.plan.keys import KeyTable, Stretch, compare
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.store.headers import headers_holding, is_in_place, is_sealed, part_path, ways
from labelseg.pipeline.store.items.item_rows import ItemLeaf
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.manifests import Catalog, Location, Manifest, ManifestItem

if TYPE_CHECKING:
    from labelseg.pipeline.remote.remote import Remote


@dataclass(frozen=True)
class MapWork:
    """The items of a map.

    Attributes:
        entries: All of them.
        keys: Id -> key.
        places: (id, key) -> part, index in it and digest, of the items that lie on disk; empty where all are to be made again.
        kept: The stretches of a large map that lie in leaves as they are, in order.
        leaves: What those leaves belong to.
    """

    entries: Entries
    keys: Mapping[str, str]
    places: Mapping[tuple[str, str], Location]
    kept: Sequence[Stretch] = ()
    leaves: LeafItems | None = None

    @cached_property
    def todo(self) -> Entries:
        """The items to compute."""
        ids = self.entries.ids
        loose = (k for start, stop in self.gaps for k in range(start, stop))
        return self.entries.chosen([k for k in loose if (ids[k], self.keys[ids[k]]) not in self.places])

    @property
    def gaps(self) -> Iterator[tuple[int, int]]:
        """The places (start, stop) of items between those that are kept."""
        at = 0
        for stretch in self.kept:
            yield at, stretch.start
            at = stretch.stop
        yield at, len(self.entries)


class KeptPlaces(Mapping[tuple[str, str], Location]):
    """Where items lie: those of leaves that are kept, which are looked up when asked for, and others.

    Args:
        others: (id, key) -> place.
        items: Of the artifact that stands.
        kept: Its leaves that are kept.
    """

    def __init__(self, others: dict[tuple[str, str], Location], items: LeafItems, kept: Sequence[ItemLeaf]) -> None:
        self._others = others
        self._items = items
        self._kept = dict.fromkeys(kept)

    def __getitem__(self, name: tuple[str, str]) -> Location:
        if name in self._others:
            return self._others[name]
        leaf = self._items.leaf_of(name[0])
        item = self._items.rows(leaf).find(name[0]) if leaf is not None and leaf in self._kept else None
        if item is None or item.key != name[1]:
            raise KeyError(name)
        return Location(item.part, item.index, item.digest)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self._others
        for leaf in self._kept:
            yield from (item[:2] for item in self._items.rows(leaf))

    def __len__(self) -> int:
        return len(self._others) + sum(leaf.count for leaf in self._kept)


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


def look_up(
    planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing], *, forced: bool, remote: Remote | None = None
) -> Prospect:
    """Find what is there of the result of a node whose inputs are known.

    Args:
        planner: Keys and items.
        decision: What the node needs.
        standings: How the nodes stand that it reads.
        forced: Whether to look for nothing, so that all is made again.
        remote: The object store in which to look as well; None is none.
    """
    node = decision.node
    if remote is not None and not forced:
        remote.find(node.stage.name, str(decision.key))
    whole = None if forced else _whole(planner, decision, standings)
    if whole is not None:
        return whole
    if node.is_model:
        return Prospect()
    entries = planner.entries(node, SPLIT_PARAM, standings)
    keys = planner.item_keys(decision.recipe, node, decision.inputs or {}, entries)
    work = MapWork(entries, keys, {}) if forced else _finished_items(planner, decision, entries, keys)
    if remote is not None and not forced and work.todo and remote.bring_headers(node.stage.name):
        work = _finished_items(planner, decision, entries, keys)
    return Prospect(work=work)


def foreseen(planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing]) -> Standing:
    """Tell what the readers of a node will find after a run: a whole result that was made before serves them again."""
    if decision.standing.settled or decision.key is None:
        return decision.standing
    try:
        whole = _whole(planner, decision, standings)
    except ArtifactError:  # a part that cannot be read at this moment, which a run tells
        whole = None
    return decision.standing if whole is None else whole.standing(decision)


def _whole(planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing]) -> Prospect | None:
    """Find the whole result of a node; parts are looked at only where it does not lie under the key that the node needs."""
    for same in _ways(planner, decision, standings):
        known = _reusable(planner.catalog, same)
        if known is not None and not known.failed:
            return Prospect(known, same)
    return None


def _ways(planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing]) -> Iterator[Decision]:
    """Yield a decision, then the same with parameters as they lie on disk where those amount to the same under today's declaration."""
    yield decision
    node = decision.node
    for version, params in ways(planner.catalog.root, node.stage.name):
        if version != node.stage.version or params == decision.recipe["params"]:
            continue
        recipe = planner.as_recorded(decision.recipe, {**decision.recipe, "params": params})
        if recipe["params"] == params:
            yield replace(decision, recipe=recipe, key=planner.key(node, recipe, decision.inputs or {}, None, standings))


def _finished_items(planner: Planner, decision: Decision, entries: Entries, keys: KeyTable) -> MapWork:
    """Find the place of every wanted item that lies on disk; what the node stands for now comes before other parts.

    Headers are read only for what that does not name, such as the images that were added.
    """
    stage, root = decision.node.stage.name, planner.catalog.root
    manifest = None
    if decision.ref is not None:
        with suppress(ArtifactError):
            manifest = planner.manifest(stage, decision.ref.key)
    if manifest is not None and isinstance(manifest.items, LeafItems) and keys.is_sorted:
        return _kept_items(planner, entries, keys, manifest)
    named = [] if manifest is None else [item for item in manifest.items if keys.get(item.id) == item.key]
    # What is sealed is what was written: a sealed manifest names what a sealed part holds.
    sealed = _sealed(root, stage, {item.part for item in named} if manifest is not None and manifest.seal else ())
    return MapWork(entries, keys, _found(root, stage, keys.items(), named, sealed))


def _kept_items(planner: Planner, entries: Entries, keys: KeyTable, manifest: Manifest) -> MapWork:
    """Find the places of the items of a large map: leaves that are the same are kept as they are, of others each item is looked at."""
    items, stage, root = manifest.items, manifest.stage, planner.catalog.root
    assert isinstance(items, LeafItems)
    sealed = _sealed(root, stage, manifest.parts)
    kept: list[Stretch] = []
    named: list[ManifestItem] = []
    wanted: list[tuple[str, str]] = []
    for stretch in compare(keys, items):
        if stretch.is_same and sealed.issuperset(stretch.parts):
            kept.append(stretch)
            continue
        ids = keys.ids[stretch.start : stretch.stop]
        wanted += zip(ids, keys.keys_in_order[stretch.start : stretch.stop], strict=True)
        rows = items.rows(stretch.leaf) if stretch.is_same else stretch.rows or ()
        named += [item for item in rows if keys.get(item.id) == item.key]
    places = KeptPlaces(_found(root, stage, wanted, named, sealed), items, [stretch.leaf for stretch in kept])
    return MapWork(entries, keys, places, kept, items)


def _sealed(root: Path, stage: str, parts: Iterable[str]) -> set[str]:
    """List those of the parts that are there with a seal."""
    return {part for part in parts if is_sealed(part_path(root, stage, part))}


def _found(
    root: Path, stage: str, wanted: Iterable[tuple[str, str]], named: Iterable[ManifestItem], sealed: Collection[str]
) -> dict[tuple[str, str], Location]:
    """Map (id, key) of wanted items to their places: those that are named and lie in sealed parts, others as headers say."""
    named = list(named)
    places = {(item.id, item.key): Location(item.part, item.index, item.digest) for item in named if item.part in sealed}
    missing = {name for name in wanted if name not in places}
    first = {(item.id, item.key): (item.part, item.index, item.digest) for item in named if (item.id, item.key) in missing}
    for part in headers_holding(root, stage, {key for _, key in missing}):
        for item in part.items:
            name, place = (item.id, item.key), Location(part.part_id, item.index, item.digest)
            if name in missing and places.get(name) != first.get(name, ()):
                places[name] = place
    return places


def _reusable(catalog: Catalog, decision: Decision) -> Manifest | None:
    """Read the manifest of the key that a node needs, if there is one and all that it names is there."""
    stage = decision.node.stage.name
    manifest = catalog.sound(stage, str(decision.key))
    if manifest is None or not all(is_in_place(part_path(catalog.root, stage, part)) for part in manifest.parts):
        return None
    return manifest
