"""Reads everything back and says what is wrong: refs, manifests, parts whether named or not, checkpoints."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labelseg.errors import ArtifactError, DamageError, LabelsegError
from labelseg.pipeline.files.paths import is_key, unlistable
from labelseg.pipeline.files.seals import intact_tensors
from labelseg.pipeline.files.unfinished import Unfinished
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.store.away.marks import away_parts, noted_parts
from labelseg.pipeline.store.headers import part_path, part_paths, remedy
from labelseg.pipeline.store.items.items_there import ItemsThere
from labelseg.pipeline.store.items.leaf_items import FOLDER as LEAVES
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.manifests import Catalog, Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import OpenPart
from labelseg.pipeline.store.records import repair


@dataclass(frozen=True)
class Problem:
    """Something that is not what was written.

    Attributes:
        path: Of the record, the part or the checkpoint.
        text: What is wrong, and which command repairs it.
        items: Indices of damaged items of a part that can be read otherwise.
        certain: Whether the bytes are damaged, as opposed to could not be read this time.
    """

    path: Path
    text: str
    items: frozenset[int] = frozenset()
    certain: bool = True


def hidden(root: Path, stage: str | None = None) -> Iterator[tuple[Path, ArtifactError]]:
    """List folders of refs, manifests, leaves and parts, of a stage or of all, whose content cannot be told; see ``paths.unlistable``."""
    for name, depth in (("refs", 1), ("manifests", 1), (LEAVES, 1), ("objects", 2)):
        for path, error in unlistable(root / name, depth):
            parts = path.relative_to(root).parts
            if stage is None or len(parts) == 1 or stage_of(parts[1]) == stage:
                yield path, error


def check(root: Path, stage: str | None = None) -> Iterator[Problem]:
    """Read everything that a stage has made back, or all stages.

    Args:
        root: The ``.labelseg`` folder.
        stage: Name of the stage; None checks all.
    """
    there = ItemsThere()
    told: set[tuple[str, str]] = set()
    shut: set[str] = set()
    begun = {name: _identity(path) for name, path in _unfinished(root)} if stage is None else {}
    for path, error in hidden(root, stage):
        folder, *names = path.relative_to(root).parts
        if folder == "objects":
            shut.add(names[0] if names else "")
        yield Problem(path, str(error), certain=False)
    # Of what lies in an object store alone nothing is read here, and what was found damaged there counts as damaged.
    told |= away_parts(root, stage or "*")
    for lost in sorted(told & noted_parts(root)):
        path = part_path(root, *lost)
        yield Problem(path, f"{path} does not lie here, and in the object store it is damaged or gone. {remedy(path)}")
    yield from _check_parts(root, stage, there, told)
    yield from _check_manifests(root, stage, there, told, shut)
    yield from _check_refs(root, stage)
    yield from _check_checkpoints(root, stage)
    # What is begun while this check goes on is somebody's work.
    left = [(name, path) for name, path in _unfinished(root) if name in begun and begun[name] == _identity(path)]
    for name, path in left:
        yield Problem(path, _left_unfinished(root, name))


def _check_parts(root: Path, stage: str | None, there: ItemsThere, told: set[tuple[str, str]]) -> Iterator[Problem]:
    """Read all parts, and collect the items that are sound, and the parts that are not."""
    for path in part_paths(root, stage or "*"):
        yield from _check_part(path, there, told)


def _check_part(path: Path, there: ItemsThere, told: set[tuple[str, str]]) -> Iterator[Problem]:
    """Read one part; one that is gone is told of where something names it."""
    try:
        if not is_key(path.stem):
            raise DamageError(f"{path} has not the name of a part. {remedy(path)}")
        part = OpenPart(path)
        found = dict(part.problems())
    except ArtifactError as error:
        if os.path.lexists(path):
            told.add((path.parent.parent.name, path.stem))
            yield _problem(path, error)
        return
    there.add(part.header.stage, path.stem, (item for item in part.header.items if item.index not in found))
    if found and os.path.lexists(path):
        told.add((part.header.stage, path.stem))
        for text in found.values():
            yield Problem(path, text, frozenset(found))


def _check_manifests(
    root: Path, stage: str | None, there: ItemsThere, told: set[tuple[str, str]], shut: Collection[str]
) -> Iterator[Problem]:
    """Compare all manifests with the items that are there, unless they lie in a part of which something was told, or are out of sight."""
    catalog = Catalog(root)
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for name, part in {*there, *told}:
        seen[name].add(part)
    for name, key in catalog.manifests():
        if stage not in (None, name):
            continue
        path = root / "manifests" / name / f"{key}.json"
        try:
            if not is_key(key):
                raise DamageError(f"{path} has not the name of a manifest. {repair(name)}")
            manifest = catalog.load(name, key)
        except ArtifactError as error:
            yield _problem(path, error)
            continue
        yield from _check_leaves(catalog, manifest)
        if manifest is None or {name, ""} & {*shut}:
            continue
        # Parts written since the others were read belong to what a run beside this check has finished.
        for part in sorted({item.part for item in _readable(manifest)} - seen[name]):
            seen[name].add(part)
            yield from _check_part(part_path(root, name, part), there, told)
        for item in _readable(manifest) if path.exists() else ():
            if (name, item.part) not in told and not there.holds(name, item):
                yield Problem(path, f"{item.id}: {path} names item {item.index} of part {item.part}, which is not there. {repair(name)}")


def _check_leaves(catalog: Catalog, manifest: Manifest | None) -> Iterator[Problem]:
    """Read the leaves of a manifest; one that it names no more belonged to what a run or a gc beside this check has replaced."""
    if manifest is None or not isinstance(manifest.items, LeafItems):
        return
    for leaf in manifest.leaves:
        try:
            manifest.items.rows(leaf)
        except ArtifactError as error:
            now = catalog.sound(manifest.stage, manifest.key)
            if now is not None and leaf in now.leaves:
                yield _problem(manifest.items.path(leaf), error)


def _readable(manifest: Manifest) -> Iterator[ManifestItem]:
    """Go through the items of a manifest, those left out that lie in leaves which cannot be read."""
    if not isinstance(manifest.items, LeafItems):
        yield from manifest.items
        return
    for leaf in manifest.leaves:
        with suppress(ArtifactError):
            yield from manifest.items.rows(leaf)


def _check_refs(root: Path, stage: str | None) -> Iterator[Problem]:
    """Compare all refs with their manifests; what is wrong with those was told."""
    catalog = Catalog(root)
    for path, ref in catalog.ref_files(tagged=True):
        if stage not in (None, stage_of(path.parent.name)):
            continue
        if not isinstance(ref, Ref):
            yield _problem(path, ref)
            continue
        try:
            catalog.named(ref)
        except DamageError:
            continue
        except LabelsegError as error:
            # A run or a gc beside this check may have replaced or removed it.
            if path.exists() and catalog.ref(ref.instance, ref.split, ref.tag or None) == ref:
                yield Problem(path, f"{path}: {error}")


def _check_checkpoints(root: Path, stage: str | None) -> Iterator[Problem]:
    """Read all checkpoints."""
    for path in sorted(root.glob(f"checkpoints/{stage or '*'}/*/*.safetensors")):
        try:
            intact_tensors(path)
        except ValueError as error:
            yield Problem(path, f"{path} is damaged: {error}. {repair(path.parent.parent.name)}")
        except OSError as error:
            yield Problem(path, f"{path} cannot be read: {error.strerror}. See that it can, then try again.", certain=False)


def _unfinished(root: Path) -> list[tuple[str, Path]]:
    """List the notes of tags that are not finished."""
    notes = Unfinished(root)
    return [(name, notes.path(name)) for name in notes.names()]


def _identity(path: Path) -> tuple[int, int]:
    """Tell a file from one that comes in its place."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _left_unfinished(root: Path, name: str) -> str:
    """Say what work that was killed has left of a tag."""
    try:
        count = len(Unfinished(root).files(name))
    except ArtifactError as error:
        return str(error)
    return (
        f"{Unfinished(root).path(name)}: keeping or removing the tag '{name}' was interrupted; {count:,} refs of it do not count. "
        f"Clear them: labelseg verify --repair"
    )


def _problem(path: Path, error: ArtifactError) -> Problem:
    """Tell of a record or a part that could not be read."""
    return Problem(path, str(error), certain=isinstance(error, DamageError))
