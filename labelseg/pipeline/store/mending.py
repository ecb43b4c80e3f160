"""Takes out what is damaged, so that all that is left is sound and what is missing is computed again by itself.

Sound items of a damaged part move to a new one. Manifests that name lost items name them as failed. A damaged manifest is written again
where a ref says what it was and its items are there, a damaged leaf where its items are there; other manifests, models that lost a tensor
and damaged refs go. Killed anywhere, the same call again ends in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import starmap, zip_longest
from operator import eq
from pathlib import Path

from labelseg.errors import DamageError
from labelseg.pipeline.files.atomic import sync_folder
from labelseg.pipeline.files.leaves import is_intact
from labelseg.pipeline.files.paths import remove
from labelseg.pipeline.store.away.marks import away_parts, noted_parts, strike_mark
from labelseg.pipeline.store.checking import Problem, hidden
from labelseg.pipeline.store.headers import PartHeader, part_path, part_paths
from labelseg.pipeline.store.items.items_there import ItemsThere
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.items.leaf_writing import write_rows
from labelseg.pipeline.store.manifests import LOST, Location, Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import OpenPart, PartItem
from labelseg.pipeline.store.soundness import Notes
from labelseg.pipeline.store.store import Store

Moves = dict[tuple[str, str], dict[int, Location | None]]


def mend(store: Store, problems: Iterable[Problem]) -> list[Path]:
    """Take out what is damaged; call it under the workspace lock.

    Args:
        store: The store.
        problems: What was found.

    Returns:
        The paths of the refs that do not stand for what they stood for before.
    """
    root = store.root
    store.forget_open()
    kinds: dict[str, dict[Path, Problem]] = {}
    for problem in problems:
        if problem.certain and not _fetched_again(store, problem.path):
            kinds.setdefault(problem.path.relative_to(root).parts[0], {})[problem.path] = problem
    parts = kinds.get("objects", {})
    for _, error in hidden(root):
        raise error
    # Everything is read before anything goes: what cannot be read at this moment stops the mending here.
    headers = _Headers([path for path in part_paths(root) if path not in parts])
    there = ItemsThere()
    for header in headers:
        there.add(header.stage, header.part_id, header.items)
    away = away_parts(root) - noted_parts(root)
    manifests = [(stage, key, _manifest(store, stage, key)) for stage, key in store.catalog.manifests()]
    moves: Moves = {(path.parent.parent.name, path.stem): _salvage(store, path, problem.items) for path, problem in parts.items()}
    for path in (*kinds.get("checkpoints", {}), *kinds.get("refs", {})):
        remove(path)
    for path in kinds.get("unfinished", {}):
        _clear_tag(store, path)
    changed = list(kinds.get("refs", {}))
    for stage, key, manifest in manifests:
        if manifest is not None and not _mend_leaves(manifest, headers):
            manifest = None  # of items in leaves that are lost nothing but their number is known
        now = _restored(store, stage, key, headers) if manifest is None else _mended(manifest, moves, there, away)
        if now is None:
            remove(root / "manifests" / stage / f"{key}.json")
        elif now is not manifest:
            store.catalog.publish(now, replace=True)
    for path, ref in list(store.catalog.ref_files(tagged=True)):
        if isinstance(ref, Ref) and _mend_ref(store, ref):
            changed.append(path)
    for path in parts:
        aside = store.aside()
        with suppress(FileNotFoundError):
            path.rename(aside)
            sync_folder(path.parent)
        remove(aside)
        strike_mark(root, path.parent.parent.name, path.stem)
        Notes(root).remove(path.parent.parent.name, path.stem)
    return [path for path in changed if "@" not in path.name]


def mend_noted(store: Store) -> None:
    """Look again at the stages of parts that someone found damaged, and take out what is; call it under the workspace lock."""
    noted = Notes(store.root).all()
    if noted:
        problems = [problem for stage in {name for name, _ in noted} for problem in store.problems(stage)]
        names = {part_path(store.root, *name) for name in Notes(store.root).all()}  # with what was found just now
        mend(store, [problem for problem in problems if problem.path in names])


def _clear_tag(store: Store, note: Path) -> None:
    """Remove what an interruption left of a tag; where that cannot be told any more, the refs stay and count again."""
    try:
        store.catalog.unfinished.clear(note.stem)
    except DamageError:
        remove(note)


class _Headers:
    """The headers of parts, those left out that are not sound; read anew each time, so that memory holds one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[PartHeader]:
        for path in self._paths:
            with suppress(DamageError):
                yield PartHeader.read(path)


def _manifest(store: Store, stage: str, key: str) -> Manifest | None:
    """Read a manifest; None where it is damaged."""
    with suppress(DamageError):
        return store.catalog.load(stage, key)
    return None


def _salvage(store: Store, path: Path, damaged: frozenset[int]) -> dict[int, Location | None]:
    """Write the sound items of a damaged part into a new one; say where each item is now."""
    if not damaged:  # nothing in it can be read
        return {}
    part = OpenPart(path)
    sound = [item for item in part.header.items if item.index not in damaged]
    items = [PartItem(item.id, item.key, part.read(item.index)) for item in sound]
    locations = store.write_part(part.header.stage, part.header.header, items)
    return dict.fromkeys(damaged) | {item.index: location for item, location in zip(sound, locations, strict=True)}


def _fetched_again(store: Store, path: Path) -> bool:
    """Whether a sound copy of a damaged part came from the object store in its place."""
    if store.away is None or path.suffix != ".zarr":
        return False
    try:
        store.away.fetch(path.parent.parent.name, path.stem)
    except DamageError:
        return False
    return True


def _mended(manifest: Manifest, moves: Moves, there: ItemsThere, away: set[tuple[str, str]]) -> Manifest | None:
    """Let a manifest name what is there; None where too little is left, or a tensor of a model is lost."""

    def now() -> Iterator[ManifestItem]:
        for item in manifest.items:
            name = (manifest.stage, item.part)
            if name in moves:
                at = moves[name].get(item.index)
                if at is not None and at.digest == item.digest:
                    yield ManifestItem(item.id, item.key, *at)
            elif name in away or there.holds(manifest.stage, item):
                yield item

    if all(starmap(eq, zip_longest(now(), manifest.items))):
        return manifest
    kept = list(now())
    found = {item.id for item in kept}
    lost = [item.id for item in manifest.items if item.id not in found]
    if not kept or (lost and "model" in manifest.meta):
        return None
    failed = manifest.failed + [{"id": name, "error": LOST} for name in lost]
    return replace(manifest, items=kept, failed=failed, digest="")


def _mend_leaves(manifest: Manifest, headers: Iterable[PartHeader]) -> bool:
    """Write leaves again that are gone or damaged, from the items on disk; whether all are there now.

    A leaf is called by its digest, so that only what it held can take its place.
    """
    if not isinstance(manifest.items, LeafItems):
        return True
    items, way = manifest.items, (manifest.stage, manifest.version, manifest.recipe.get("params"))
    for number, leaf in enumerate(items.leaves):
        if is_intact(items.path(leaf)):
            continue
        after = items.leaves[number + 1].first if number + 1 < len(items.leaves) else None
        made = [h for h in headers if (h.stage, h.header.get("version"), h.header.get("params")) == way and h.part_id in manifest.parts]
        for run in (None, *dict.fromkeys(header.header.get("run") for header in made)):
            rows = (
                ManifestItem(item.id, item.key, header.part_id, item.index, item.digest)
                for header in sorted(made, key=lambda h: h.header.get("run") == run)
                for item in header.items
                if leaf.first <= item.id and (after is None or item.id < after)
            )
            found = {row.id: row for row in rows}
            if len(found) == leaf.count and write_rows(items.folder, [found[name] for name in sorted(found)]).digest == leaf.digest:
                break
        else:
            return False
    return True


def _restored(store: Store, stage: str, key: str, headers: Iterable[PartHeader]) -> Manifest | None:
    """Make the manifest of a whole map again from a ref to it and from the items on disk; None unless their digest is what the ref says.

    A model cannot be made again: what rebuilds its network stood in the manifest alone.
    """
    refs = [ref for ref in store.catalog.refs(tagged=True) if (ref.stage, ref.key) == (stage, key) and ref.split and not ref.failed]
    for ref in refs[:1]:
        way = stage, ref.version, ref.recipe.get("params")
        made = [h for h in headers if (h.stage, h.header.get("version"), h.header.get("params")) == way]
        # Of several states of an image that of the run that made the others; a run that took them up later has made none.
        for run in (None, *dict.fromkeys(header.header.get("run") for header in made)):
            rows = [(item, h) for h in sorted(made, key=lambda h: h.header.get("run") == run) for item in h.items]
            items = {item.id: ManifestItem(item.id, item.key, h.part_id, item.index, item.digest) for item, h in rows}
            device = next((str(h.header.get("device", "")) for h in made), "")
            manifest = Manifest(
                stage=stage, version=ref.version, key=key, params=ref.params, recipe=ref.recipe, device=device,
                items=[items[image_id] for image_id in sorted(items)], seconds=ref.seconds, created=ref.created,
            )  # fmt: skip
            if manifest.ref_digest == ref.digest:
                return manifest
    return None


def _mend_ref(store: Store, ref: Ref) -> bool:
    """Let a ref say what its manifest holds now; whether it stands for something else than before."""
    manifest = store.catalog.load(ref.stage, ref.key)
    if manifest is None:
        if ref.tag:
            remove(store.catalog.ref_path(ref.instance, ref.split, ref.tag))
        return True  # the main one stays until it is made again: it says how that was made
    return store.catalog.keep_up(ref, manifest)
