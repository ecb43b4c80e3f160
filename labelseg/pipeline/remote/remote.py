"""The object store behind a workspace: what stands there is seen here, what is made here is published there."""

from __future__ import annotations

import logging
import re
import shlex
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from labelseg.errors import ArtifactError, DamageError, LabelsegError, LockedError, MissingArtifactError, UnreachableError, UsageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.declare.store_url import StoreUrl
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.locks import holds_workspace, workspace_lock
from labelseg.pipeline.files.unfinished import FOLDER as UNFINISHED
from labelseg.pipeline.remote.bucket import Bucket, Listed
from labelseg.pipeline.remote.clearing import Cleared, clear_store, evict
from labelseg.pipeline.remote.incoming import Incoming
from labelseg.pipeline.remote.last_seen import DROPPED, LastSeen, Seen
from labelseg.pipeline.remote.outgoing import AT_ONCE, Outgoing
from labelseg.pipeline.remote.remote_parts import PAUSE_SECONDS, RemoteParts
from labelseg.pipeline.remote.s3_bucket import S3Bucket, demand_obstore
from labelseg.pipeline.store.away.marks import away_header, away_parts, strike_mark
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.manifests import Catalog, Ref, ref_names

logger = logging.getLogger(__name__)

_REF = re.compile(r"refs/[^/\\\0]+/[^/\\\0]+\.json")


class Remote:
    """The store of one workspace.

    Args:
        root: The ``.labelseg`` folder.
        where: URL of the store.
        instances: Instances of which refs are fetched; what tags keep is fetched of all.
        bucket: What answers in place of S3.

    Attributes:
        parts: The parts in it, for those who read and write them.
    """

    def __init__(self, root: Path, where: StoreUrl, instances: Collection[str], bucket: Bucket | None = None) -> None:
        if bucket is None:
            demand_obstore()
        self.url = str(where)
        self.bucket: Bucket = bucket or S3Bucket(where)
        self.parts = RemoteParts(root, self.bucket)
        self._root = root
        self._instances = frozenset(instances)
        self._looked = False
        self._silent_until = 0.0

    def look(self) -> None:
        """Fetch what changed in the store, once, for commands that only read; where that cannot be, say so and show what is here."""
        if self._looked:
            return
        self._looked = True
        try:
            with nullcontext() if holds_workspace(self._root) else workspace_lock(self._root, "labelseg", 0):
                self._fetch()
        except LockedError:
            return  # a run fetches it
        except UnreachableError as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("%s What follows is what is known here.", error)
        except UsageError:
            raise
        except (LabelsegError, OSError) as error:  # such as a folder that this user may only read
            logger.warning("Nothing is fetched from %s: %s What follows is what is known here.", self.url, error)

    def fetch(self, wait: float) -> None:
        """Fetch what changed in the store for work that then goes on without the lock; call it before anything is read.

        Args:
            wait: Seconds to wait for a process that holds the workspace, which has fetched what it works on.

        Raises:
            UnreachableError: the store does not answer.
        """
        self._looked = True
        with suppress(LockedError), workspace_lock(self._root, "labelseg", wait):
            self._fetch()

    def synchronize(self) -> None:
        """Fetch what changed in the store, and publish what is here and not there; call it under the workspace lock.

        Raises:
            UnreachableError: the store does not answer.
            UsageError: parts lie in the store that was named before, and nowhere else.
        """
        self._looked = True
        self._fetch()
        self._publish_all()

    def publish(self, path: Path) -> None:
        """Publish a ref that was set, and what it names. Where the store does not answer this is done later, at the latest by ``settle``.

        Raises:
            OvertakenError: another machine was quicker.
        """
        with self.if_it_answers() as answers:
            if answers:
                with self._outgoing() as outgoing:
                    outgoing.ref(_name(self._root, path))

    def settle(self) -> None:
        """Publish what is not in the store yet.

        Raises:
            UnreachableError: the store does not answer.
        """
        self._publish_all()

    def find(self, stage: str, key: str) -> bool:
        """Fetch the manifest of a key that nothing here holds; whether there was a sound one."""
        if Catalog(self._root).holds(stage, key):
            return False
        with self.if_it_answers() as answers:
            there = self.bucket.list(f"manifests/{stage}/{key}/") if answers else ()
            for found in sorted(there, key=lambda found: found.modified, reverse=True):
                with suppress(DamageError):
                    Incoming(self._root, self.bucket).manifest(stage, key, found.name.rpartition("/")[2].removesuffix(".json"))
                    return True
        return False

    def bring_headers(self, stage: str) -> bool:
        """Fetch headers of parts that lie in the store alone and in no artifact that is known here; whether anything changed.

        So what a killed run of another machine has finished is found by its keys. Parts that the store has lost are no longer counted on.
        """
        catalog = Catalog(self._root)
        named = {part for name, key in catalog.manifests() if name == stage for part in getattr(catalog.sound(name, key), "parts", ())}
        with self.if_it_answers() as answers:
            if not answers:
                return False
            there = Incoming(self._root, self.bucket).parts(stage)
            lost = {part for _, part in away_parts(self._root, stage)} - there
            for part in lost:
                strike_mark(self._root, stage, part)
            paths = [part_path(self._root, stage, part) for part in sorted(there - named)]
            wanted = [path.stem for path in paths if not path.exists() and not away_header(path)]
            with ThreadPoolExecutor(AT_ONCE, "headers") as pool:
                return any(list(pool.map(lambda part: self.parts.bring_header(stage, part), wanted))) or bool(lost)
        return False

    def drop(self, paths: Iterable[Path]) -> None:
        """Note of refs that were removed here that they stay in the store, and are not fetched again until they change there."""
        seen = LastSeen(self._root, self.url)
        for name in (_name(self._root, path) for path in paths):
            if (then := seen[name]) is not None:
                seen.put(name, Seen(then.etag, DROPPED))
        seen.save()

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove refs from the store, before they are removed here.

        Raises:
            UnreachableError: the store does not answer.
        """
        seen = LastSeen(self._root, self.url)
        for name in (_name(self._root, path) for path in paths):
            self.bucket.delete(name)
            seen.put(name, None)
        seen.save()

    def evict(self, *, dry_run: bool = False) -> Cleared:
        """Remove parts here that the store holds as well; call it under the workspace lock."""
        return evict(self._root, self.bucket, self.parts, dry_run=dry_run)

    def clear(self, gone: Iterable[Path], *, hours: float, shares: bool = False, dry_run: bool = False) -> Cleared:
        """Remove from the store what no ref in it names, and refs that were removed here and did not change there since.

        Args:
            gone: The refs, which may be gone here already.
            hours: What is younger stays.
            shares: Whether records of shares that are not finished go as well; else nothing goes of a stage of which there are any.
            dry_run: Only count.
        """
        seen = LastSeen(self._root, self.url)
        there = {found.name: found.etag for found in self.bucket.list("refs/")}
        if not dry_run:
            unchanged = [p for p in gone if (then := seen[_name(self._root, p)]) and then.etag == there.get(_name(self._root, p))]
            self.remove(unchanged)
        return clear_store(self._root, self.bucket, hours=hours, shares=shares, dry_run=dry_run)

    @contextmanager
    def if_it_answers(self) -> Iterator[bool]:
        """Do something unless the store was silent a moment ago; if it is now, say so and go on."""
        try:
            yield time.monotonic() >= self._silent_until
        except UnreachableError as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("%s The work goes on; what it makes is sent later.", error)

    def _fetch(self) -> None:
        """Take over what changed in the store since it was last seen."""
        seen = LastSeen(self._root, self.url)
        self._demand_same_store(seen)
        listed = {found.name: found for found in self.bucket.list("refs/") if _REF.fullmatch(found.name)}
        begun = {unquote(found.name.rpartition("/")[2].removesuffix(".json")) for found in self.bucket.list(f"{UNFINISHED}/")}
        incoming = Incoming(self._root, self.bucket)
        try:
            for name in sorted(listed.keys() | seen.names):
                if _tag(name) not in begun:
                    self._fetch_ref(name, listed.get(name), seen, incoming, is_empty=not listed)
            self._mark_missing(incoming)
        finally:
            seen.save()

    def _fetch_ref(self, name: str, found: Listed | None, seen: LastSeen, incoming: Incoming, *, is_empty: bool) -> None:
        """Take over a ref if it changed in the store; where it changed here too, what stands there wins, and that is told."""
        then, here = seen[name], _digest(self._root / name)
        if found is None:
            if then is not None and here == then.digest and _tag(name) and not is_empty:
                (self._root / name).unlink()  # another machine removed the tag
            seen.put(name, None)  # what lies here alone is published anew
            return
        if then is not None and found.etag == then.etag and (here is not None or then.digest == DROPPED):
            self._restore_manifest(name, incoming)
            return
        if ref_names(Path(name))[0] not in self._instances and not _tag(name):
            return
        there = self.bucket.get(name)
        if there is None:
            return
        data, etag = there
        if digest(data) == here:
            seen.put(name, Seen(etag, digest(data)))
            return
        before = _ref(self._root, name) if here is not None and (then is None or here != then.digest) else None
        try:
            ref = incoming.ref(name, data)
        except DamageError as error:
            logger.warning("%s", error)
            seen.put(name, Seen(etag, "damaged"))  # what is here, or comes to be, takes its place
            return
        if before is not None and (before.key, before.digest) != (ref.key, ref.digest):
            logger.warning(
                "%s/%s was published by another machine, and takes the place of what was made here meanwhile. "
                "That is kept; where it is what is asked for, the next run takes it up again and computes nothing.",
                self.url,
                name,
            )
        seen.put(name, Seen(etag, digest(data)))

    def _restore_manifest(self, name: str, incoming: Incoming) -> None:
        """Fetch the manifest of a ref that is unchanged, where that is gone here."""
        ref = _ref(self._root, name)
        if ref is not None and ref.manifest and not Catalog(self._root).holds(ref.stage, ref.key):
            with suppress(DamageError):  # which is told, and mended as without a store
                incoming.manifest(ref.stage, ref.key, ref.manifest)

    def _mark_missing(self, incoming: Incoming) -> None:
        """Note where the parts are that what stands here names and that do not lie here."""
        catalog = Catalog(self._root)
        for stage, key in sorted({(ref.stage, ref.key) for ref in catalog.refs(tagged=True)}):
            manifest = catalog.sound(stage, key)
            if manifest is not None:
                incoming.mark(stage, manifest.parts)

    def _publish_all(self) -> None:
        """Publish every ref that is not in the store as it is here."""
        with self._outgoing() as outgoing:
            ahead = [name for name, here in _local_refs(self._root) if here != getattr(outgoing.seen[name], "digest", None)]
            tags = {tag for tag in map(_tag, ahead) if tag}
            notes = [f"{UNFINISHED}/{quote(tag, safe=' ')}.json" for tag in sorted(tags)]
            for note in notes:  # until all that a tag keeps is there, others do not see it
                self.bucket.create(note, b"{}")
            for name in ahead:
                try:
                    outgoing.ref(name)
                except (ArtifactError, MissingArtifactError):
                    continue  # what is damaged here is told and mended as without a store, and published then
            for note in notes:
                self.bucket.delete(note)

    @contextmanager
    def _outgoing(self) -> Iterator[Outgoing]:
        """Publish something, and note what was."""
        seen = LastSeen(self._root, self.url)
        try:
            yield Outgoing(self._root, self.bucket, self.parts, seen)
        finally:
            seen.save()

    def _demand_same_store(self, seen: LastSeen) -> None:
        """Refuse another store than the one in which parts of this workspace lie alone.

        Raises:
            UsageError: it is another one.
        """
        away = away_parts(self._root)
        if seen.url and seen.url != self.url and away:
            raise UsageError(
                f"{len(away):,} parts of this workspace lie in {seen.url} and not here, and [store] url is {self.url}. "
                f"Go back: labelseg config store.url {shlex.quote(seen.url)}"
            )


def _name(root: Path, path: Path) -> str:
    """What a ref is called in the store."""
    return path.relative_to(root).as_posix()


def _tag(name: str) -> str:
    """Tag of a ref by its name; empty for the main one."""
    return unquote(Path(name).stem.partition("@")[2])


def _ref(root: Path, name: str) -> Ref | None:
    """Read a ref that lies here; None where it cannot be read."""
    with suppress(ArtifactError):
        return Catalog(root).ref(*ref_names(root / name), _tag(name) or None)
    return None


def _digest(path: Path) -> str | None:
    """Digest a file; None where there is none."""
    try:
        return digest(read_file(path))
    except FileNotFoundError:
        return None


def _local_refs(root: Path) -> Iterator[tuple[str, str | None]]:
    """List the refs of a folder that can be read, with the digest of each file; those of tags that are not finished are left out."""
    catalog = Catalog(root)
    for path, ref in catalog.ref_files(tagged=True):
        if not isinstance(ref, ArtifactError):
            yield _name(root, path), _digest(path)
