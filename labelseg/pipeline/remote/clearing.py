"""Frees space: here, of parts that the store holds as well; there, of what no ref names any more."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from labelseg.asides.making import aside
from labelseg.errors import ArtifactError, LabelsegError
from labelseg.pipeline.files.paths import below, remove, size_of
from labelseg.pipeline.files.share_folders import FOLDER as SHARES
from labelseg.pipeline.files.share_folders import JOB
from labelseg.pipeline.remote.bucket import Bucket, Listed
from labelseg.pipeline.remote.incoming import Incoming, manifest_name, read_ref
from labelseg.pipeline.remote.packing import pack
from labelseg.pipeline.remote.remote_parts import RemoteParts, object_name
from labelseg.pipeline.store.away.marks import FOLDER, mark_away, noted_parts
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.manifests import Catalog, Ref


@dataclass(frozen=True)
class Cleared:
    """What was removed, or would be.

    Attributes:
        manifests, parts, others: How many of each; others are leaves of manifests.
        bytes: How many bytes all of them are.
        kept: Why something stayed, a line for each cause.
    """

    manifests: int = 0
    parts: int = 0
    others: int = 0
    bytes: int = 0
    kept: tuple[str, ...] = ()


def evict(root: Path, bucket: Bucket, parts: RemoteParts, *, dry_run: bool = False) -> Cleared:
    """Remove parts here that the store holds too, the same bytes or read back; they come again when they are read. Call it under the lock.

    Raises:
        UnreachableError: the store does not answer.
    """
    catalog, count, size = Catalog(root), 0, 0
    named: dict[str, set[str]] = {}
    for ref in catalog.refs(tagged=True):
        manifest = catalog.sound(ref.stage, ref.key)
        named.setdefault(ref.stage, set()).update(manifest.parts if manifest is not None else ())
    for stage in sorted(named):
        there = {found.name: found for found in bucket.list(f"objects/{stage}/")}
        for part in sorted(named[stage]):
            path, found = part_path(root, stage, part), there.get(object_name(stage, part))
            if found is None or not path.is_dir() or (stage, part) in noted_parts(root):
                continue
            if found.etag.strip('"') != hashlib.md5(pack(path), usedforsecurity=False).hexdigest() and not parts.is_sound(stage, part):
                continue
            count, size = count + 1, size + size_of(path)
            if not dry_run:
                mark_away(root, stage, part)
                out = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")
                os.rename(path, out)
                remove(out)
    return Cleared(parts=count, bytes=size)


def clear_store(root: Path, bucket: Bucket, *, hours: float, shares: bool = False, dry_run: bool = False) -> Cleared:
    """Remove manifests, leaves and parts from the store that no ref in it names, and that are older than some hours.

    Where a ref there cannot be read nothing goes, where a manifest cannot be read nothing of its stage; and nothing at all where a ref
    moved meanwhile. What is younger may belong to a run of another machine, which names it when it ends. Nothing goes of a stage of which
    shares are begun, unless ``shares`` says that their records go as well, however young.

    Raises:
        UnreachableError: the store does not answer.
    """
    refs = _refs(bucket)
    told: list[str] = []
    named: set[str] = set()
    lost: set[str] = set()
    goal = root / FOLDER / "incoming"
    goal.parent.mkdir(parents=True, exist_ok=True)
    with aside(goal, folder=True) as there:
        read = [ref for name in refs if (ref := _read(bucket, there, name, told)) is not None]
        for ref in {(ref.stage, ref.key, ref.manifest): ref for ref in read}.values():
            named |= _named(bucket, there, ref, told, lost)
    if len(read) < len(refs):
        return Cleared(kept=tuple(told))
    begun = sorted(
        bucket.list(f"{SHARES}/"), key=lambda listed: listed.name.endswith(f"/{JOB}.json")
    )  # what says that there are any goes last
    if not shares:
        for stage in sorted({listed.name.split("/")[1] for listed in begun}):
            lost.add(stage)
            told.append(
                f"Nothing of {stage} goes from {bucket.url}, because shares of it are not finished. Which: labelseg status. "
                "To give them up, add --shares."
            )
    before = _now(bucket) - timedelta(hours=hours)
    found = [
        listed
        for folder in ("manifests", "leaves", "objects")  # in this order: cut short, nothing names what is not there
        for listed in bucket.list(f"{folder}/")
        if listed.name not in named and listed.modified <= before and listed.name.split("/")[1] not in lost
    ]
    if not dry_run:
        if _refs(bucket) != refs or {listed.name for listed in bucket.list(f"{SHARES}/")} - {listed.name for listed in begun}:
            return Cleared(kept=(f"Nothing goes from {bucket.url}, because another machine published there just now. Try again.",))
        for listed in (*(begun if shares else ()), *found):
            bucket.delete(listed.name)
    counts = [sum(listed.name.startswith(f"{folder}/") for listed in found) for folder in ("manifests", "objects", "leaves")]
    return Cleared(counts[0], counts[1], counts[2], sum(listed.size for listed in found), tuple(told))


def _refs(bucket: Bucket) -> dict[str, str]:
    """Map the name of each ref in the store to its tag of content."""
    return {found.name: found.etag for found in bucket.list("refs/")}


def _read(bucket: Bucket, there: Path, name: str, told: list[str]) -> Ref | None:
    """Read a ref in the store; None where it cannot be read, which is told."""
    found = bucket.get(name)
    try:
        if found is None:
            raise ArtifactError(f"{name} went away")
        path = below(there, *name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found[0])
        return read_ref(there, path)
    except LabelsegError:
        told.append(f"Nothing goes from {bucket.url}, because {name} there cannot be read. Publish it again: labelseg run")
        return None


def _named(bucket: Bucket, there: Path, ref: Ref, told: list[str], lost: set[str]) -> set[str]:
    """List the objects that a ref stands for; nothing of a stage may go of which a manifest cannot be read."""
    name = manifest_name(ref.stage, ref.key, ref.manifest)
    try:
        return Incoming(there, bucket).objects(ref)
    except LabelsegError:
        lost.add(ref.stage)
        told.append(f"Nothing of {ref.stage} goes from {bucket.url}, because {name} there cannot be read. Publish it again: labelseg run")
        return set()


def _now(bucket: Bucket) -> datetime:
    """Ask the store for the time, which dates its objects: clocks differ."""
    name = f"clock/{uuid.uuid4().hex}"
    bucket.create(name, b"")
    times: Collection[Listed] = [found for found in bucket.list("clock/") if found.name == name]
    bucket.delete(name)
    return max(found.modified for found in times)
