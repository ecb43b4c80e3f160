"""Refs and manifests on their way from an object store to this folder: fetched aside, checked by those who read them here, put in place."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from labelseg.asides.making import aside
from labelseg.errors import ArtifactError, DamageError, MissingArtifactError
from labelseg.pipeline.files.atomic import sync_folder
from labelseg.pipeline.files.leaves import is_intact
from labelseg.pipeline.files.paths import below, is_key
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.remote.remote_parts import object_name, part_of
from labelseg.pipeline.store.away.marks import FOLDER, is_away, is_damaged_there, mark_away
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.manifests import Catalog, Manifest, Ref, ref_names


@dataclass
class Incoming:
    """Takes what stands in a store over into a folder; arrays stay there until they are read.

    Attributes:
        root: The ``.labelseg`` folder.
        bucket: The store.
    """

    root: Path
    bucket: Bucket
    _parts: dict[str, set[str]] = field(default_factory=dict)

    def ref(self, name: str, data: bytes) -> Ref:
        """Take a ref over, and before it the manifest that it names.

        Args:
            name: Of the object.
            data: What it holds.

        Raises:
            DamageError: it, or what it names, is gone or not what was written; nothing has changed here then.
        """
        with self._aside(name) as there:
            path = below(there, *name.split("/"))
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
            ref = read_ref(there, path)
            if not is_key(ref.manifest):
                raise DamageError(f"{name} names no manifest")
            manifest = self._manifest(there, ref.stage, ref.key, ref.manifest)
            Catalog(there).named(ref)
            self._place(there, manifest)
            Catalog(self.root).follow(manifest)
            _move(path, self.root / name)
        return ref

    def manifest(self, stage: str, key: str, seal: str) -> None:
        """Take a manifest over that no ref names.

        Raises:
            DamageError: as ``ref``.
        """
        with self._aside(manifest_name(stage, key, seal)) as there:
            self._place(there, self._manifest(there, stage, key, seal))

    def objects(self, ref: Ref) -> set[str]:
        """List the objects that a ref stands for: its manifest, leaves and parts. Nothing is kept here.

        Raises:
            DamageError: its manifest is gone or not what was written.
        """
        name = manifest_name(ref.stage, ref.key, ref.manifest)
        with self._aside(name) as there:
            path = Catalog(there).manifest_path(ref.stage, ref.key)
            _write(path, self._object(name))
            manifest = Catalog(there).load(ref.stage, ref.key)
            if manifest is None or manifest.seal != ref.manifest:
                raise DamageError(f"{name} is another manifest")
        parts = {object_name(ref.stage, part) for part in manifest.parts}
        return {name, *parts, *(leaf_name(ref.stage, leaf.digest) for leaf in manifest.leaves)}

    def parts(self, stage: str) -> set[str]:
        """List the parts of a stage that the store holds, those left out that were found damaged there; asked for once."""
        if stage not in self._parts:
            found = {part_of(listed.name): listed.etag for listed in self.bucket.list(f"objects/{stage}/")}
            self._parts[stage] = {
                part for part, etag in found.items() if is_key(part) and not is_damaged_there(self.root, stage, part, etag)
            }
        return self._parts[stage]

    def mark(self, stage: str, parts: Collection[str]) -> None:
        """Note of parts that do not lie here that the store holds them."""
        for part in parts:
            path = part_path(self.root, stage, part)
            if not os.path.lexists(path) and not is_away(path) and part in self.parts(stage):
                mark_away(self.root, stage, part)

    def _manifest(self, there: Path, stage: str, key: str, seal: str) -> Manifest:
        """Fetch a manifest and the leaves that do not lie here, and check them."""
        catalog = Catalog(there)
        _write(catalog.manifest_path(stage, key), self._object(manifest_name(stage, key, seal)))
        manifest = catalog.load(stage, key)
        if manifest is None or manifest.seal != seal:
            raise DamageError(f"{stage} {key} is another manifest")
        here, aside_items = LeafItems(self.root, stage, manifest.leaves), LeafItems(there, stage, manifest.leaves)
        for leaf in manifest.leaves:
            if not is_intact(here.path(leaf)):
                _write(aside_items.path(leaf), self._object(leaf_name(stage, leaf.digest)))
                if not is_intact(aside_items.path(leaf)):
                    raise DamageError(f"the leaf {leaf.digest} is another one")
        return manifest

    def _place(self, there: Path, manifest: Manifest) -> None:
        """Put a manifest in its place, after its leaves, and note where its parts are."""
        here, aside_items = LeafItems(self.root, manifest.stage, manifest.leaves), LeafItems(there, manifest.stage, manifest.leaves)
        for leaf in manifest.leaves:
            if aside_items.path(leaf).exists():
                _move(aside_items.path(leaf), here.path(leaf))
        self.mark(manifest.stage, manifest.parts)
        names = manifest.stage, manifest.key
        _move(Catalog(there).manifest_path(*names), Catalog(self.root).manifest_path(*names))

    def _object(self, name: str) -> bytes:
        """Read an object.

        Raises:
            DamageError: there is none.
        """
        found = self.bucket.get(name)
        if found is None:
            raise DamageError(f"{name} is gone")
        return found[0]

    @contextmanager
    def _aside(self, name: str) -> Iterator[Path]:
        """Make a folder in which what comes is looked at, and tell what is wrong with it in terms of the store."""
        goal = self.root / FOLDER / "incoming"
        goal.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside(goal, folder=True) as there:
                yield there
        except (ArtifactError, MissingArtifactError) as error:
            if not isinstance(error, DamageError | MissingArtifactError):
                raise
            raise DamageError(
                f"{self.bucket.url}/{name}, or what it names, is gone or not what was written, and is not used. Make it again: labelseg run"
            ) from error


def read_ref(root: Path, path: Path) -> Ref:
    """Read the ref at a path below ``root``.

    Raises:
        DamageError: it is not what was written, or that of another path.
        MissingArtifactError: there is none.
    """
    ref = Catalog(root).ref(*ref_names(path), unquote(path.stem.partition("@")[2]) or None)
    if ref is None:
        raise MissingArtifactError(f"{path} is gone.")
    return ref


def manifest_name(stage: str, key: str, seal: str) -> str:
    """What a manifest is called in the store: unlike here, also by its seal, so that no object ever changes."""
    return f"manifests/{stage}/{key}/{seal}.json"


def leaf_name(stage: str, digest: str) -> str:
    """What a leaf of a manifest is called in the store."""
    return f"leaves/{stage}/{digest}.json"


def _write(path: Path, data: bytes) -> None:
    """Write a file aside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _move(path: Path, goal: Path) -> None:
    """Put a file in its place."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, goal)
    sync_folder(goal.parent)
