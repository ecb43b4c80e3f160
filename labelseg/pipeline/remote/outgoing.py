"""Artifacts on their way from this folder to an object store: parts before leaves, leaves before their manifest, that before its ref."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from labelseg.errors import DamageError, OvertakenError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.seals import intact_seal
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.remote.incoming import Incoming, leaf_name, manifest_name, read_ref
from labelseg.pipeline.remote.last_seen import LastSeen, Seen
from labelseg.pipeline.remote.remote_parts import RemoteParts
from labelseg.pipeline.store.away.marks import strike_mark
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.manifests import Catalog, Manifest, Ref

AT_ONCE = 4  # objects that are sent at the same time


@dataclass
class Outgoing:
    """Publishes what stands in a folder.

    Attributes:
        root: The ``.labelseg`` folder.
        bucket: The store.
        parts: Those in it.
        seen: What was last seen of the refs there; what is published counts as seen.
    """

    root: Path
    bucket: Bucket
    parts: RemoteParts
    seen: LastSeen

    def ref(self, name: str) -> None:
        """Publish what a ref names, then the ref, in place of what was last seen under its name.

        Raises:
            OvertakenError: another machine has published something else there since. What the ref names lies in the store even so.
            DamageError, ArtifactError: what it names is gone or damaged here.
        """
        path = self.root / name
        ref, manifest = self._sealed(path)
        self._artifact(ref, manifest)
        data, seen = read_file(path), self.seen[name]
        etag = self.bucket.replace(name, data, seen.etag) if seen is not None and seen.etag else self.bucket.create(name, data)
        if etag is None:
            self._lost(name, ref)
        else:
            self.seen.put(name, Seen(etag, digest(data)))

    def _sealed(self, path: Path) -> tuple[Ref, Manifest]:
        """Read a ref and its manifest; of those from before there were seals both get one, by which the store calls them."""
        catalog = Catalog(self.root)
        ref = read_ref(self.root, path)
        manifest = catalog.named(ref)
        if not manifest.seal:
            catalog.publish(manifest, replace=True)
        if ref.manifest != manifest.seal or not ref.seal:
            catalog.set_ref(replace(ref, manifest=manifest.seal), ref.tag or None)
        return ref, manifest

    def _artifact(self, ref: Ref, manifest: Manifest) -> None:
        """Put parts, leaves and manifest into the store that are not there yet."""
        stage = ref.stage
        there = Incoming(self.root, self.bucket).parts(stage)
        _at_once(lambda part: self._part(stage, part), [part for part in manifest.parts if part not in there])
        if manifest.leaves:
            known = {found.name for found in self.bucket.list(f"leaves/{stage}/")}
            items = LeafItems(self.root, stage, manifest.leaves)
            missing = [leaf for leaf in manifest.leaves if leaf_name(stage, leaf.digest) not in known]
            _at_once(lambda leaf: self._content(leaf_name(stage, leaf.digest), items.path(leaf), leaf.digest, digest), missing)
        path = Catalog(self.root).manifest_path(stage, ref.key)
        self._content(manifest_name(stage, ref.key, manifest.seal), path, manifest.seal, intact_seal)

    def _part(self, stage: str, part: str) -> None:
        """Put a part into the store; one that lies neither here nor there is no longer marked as being there."""
        if not part_path(self.root, stage, part).is_dir():
            strike_mark(self.root, stage, part)
        self.parts.put(stage, part)

    def _content(self, name: str, path: Path, expected: str, digest_of: Callable[[bytes], str]) -> None:
        """Put an object that is called by its content; an equal one that is there stands, a damaged one gives way.

        Raises:
            DamageError: the file here is not what its name says.
        """
        data = read_file(path)
        if not _is(data, expected, digest_of):
            raise DamageError(f"{path} is not what was written. Repair: labelseg verify --repair")
        if self.bucket.create(name, data) is None:
            found = self.bucket.get(name)
            if found is not None and not _is(found[0], expected, digest_of):
                self.bucket.replace(name, data, found[1])

    def _lost(self, name: str, ref: Ref) -> None:
        """Look at what stands in place of what was to be published: the same, made elsewhere or by us, or something else.

        An answer of the store that was lost on its way makes a machine meet what it wrote itself.
        """
        found = self.bucket.get(name)
        if found is None:  # removed meanwhile: the next run publishes it as new
            self.seen.put(name, None)
            raise OvertakenError(f"{self.bucket.url}/{name} was removed while this machine worked. Publish it: labelseg run")
        if not _same(found[0], ref):
            where = f"{ref.instance} ({ref.split})" if ref.split else ref.instance
            raise OvertakenError(
                f"{self.bucket.url}: another machine has published {where} made in another way or from other data since this one looked. "
                "That stands now. What was made here is kept, here and there. See how it stands: labelseg status. "
                "To publish what is asked for here: labelseg run"
            )
        Incoming(self.root, self.bucket).ref(name, found[0])
        self.seen.put(name, Seen(found[1], digest(found[0])))


def _same(data: bytes, ref: Ref) -> bool:
    """Whether what another machine published is the same artifact; what is damaged is not."""
    import json

    try:
        intact_seal(data)
        values = json.loads(data)
        return bool((values["key"], values["digest"]) == (ref.key, ref.digest))
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _is(data: bytes, expected: str, digest_of: Callable[[bytes], str]) -> bool:
    """Whether bytes are what they are called by."""
    try:
        return digest_of(data) == expected
    except ValueError:
        return False


def _at_once(action: Callable, values: Iterable) -> None:
    """Do something for all values, some at a time; the first error ends it."""
    values = list(values)
    if len(values) < 2:
        for value in values:
            action(value)
        return
    with ThreadPoolExecutor(AT_ONCE, "sending") as pool:
        for _ in pool.map(action, values):
            pass
