"""Records of shares on machines that have only an object store in common: those in the store count, and those here are copies of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.asides.making import aside
from labelseg.errors import DamageError, UnreachableError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.paths import climbing, is_key
from labelseg.pipeline.files.share_folders import FOLDER, JOB, begun_shares
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.shares.share_records import ShareFolder, ShareJob, ShareRecord, says_the_same
from labelseg.pipeline.store.away.marks import FOLDER as AWAY
from labelseg.pipeline.store.manifests import Catalog
from labelseg.pipeline.store.records import to_json

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike

logger = logging.getLogger(__name__)

_TRIES = 3  # somebody may write, or give the shares up, between two requests


class SharedFolder(ShareFolder):
    """The records of one map, in an object store and here. Every call may raise ``UnreachableError``.

    Args:
        root, stage, key: As for ``ShareFolder``.
        bucket: The store.
    """

    def __init__(self, root: Path, stage: str, key: str, bucket: Bucket) -> None:
        super().__init__(root, stage, key)
        self._bucket = bucket
        self._goal = root / AWAY / "incoming"
        self._prefix = f"{FOLDER}/{stage}/{key}/"

    def begin(self, job: ShareJob) -> ShareJob:
        """Note in the store that shares are worked on, unless somebody did; return what is noted there. A damaged note gives way."""
        name, data = self._name(JOB), to_json(job)
        for _ in range(_TRIES):
            if self._bucket.create(name, data) is not None:
                self._take(JOB, data)
                return job
            there = self._bucket.get(name)
            if there is None:  # published or given up since
                continue
            if self._take(JOB, there[0]):
                return self.job() or job
            if self._bucket.replace(name, data, there[1]) is not None:
                self._take(JOB, data)
                return job
        raise self._restless(name)

    def publish(self, record: ShareRecord) -> None:
        """Write the record of a share here and there, as ``ShareFolder`` does; there not, if all was published or given up since."""
        super().publish(record)
        name, data = self._name(str(record.share)), to_json(record)
        for _ in range(_TRIES):
            if self._bucket.get(self._name(JOB)) is None or self._bucket.create(name, data) is not None:
                return
            there = self._bucket.get(name)
            if there is None:
                continue
            found = self._sound(str(record.share), there[0])
            if isinstance(found, ShareRecord) and says_the_same(found, record):
                return
            if self._bucket.replace(name, data, there[1]) is not None:
                return
        raise self._restless(name)

    def bring(self) -> None:
        """Take over what the store says of the shares. What it does not name stays here, unless the whole is published."""
        there = dict(self._listed())
        if JOB not in there and Catalog(self._root).sound(self.stage, self.key) is not None:
            super().remove()
            return
        for name in sorted(there, key=lambda name: name != JOB):
            if there[name] == self._tag(name):
                continue
            found = self._bucket.get(self._name(name))
            if found is not None and not self._take(name, found[0]):
                logger.warning("%s/%s is not what was written, and is not used.", self._bucket.url, self._name(name))

    def remove(self) -> None:
        """Forget the shares, there and here; what says that there are any goes last."""
        for found in sorted(self._bucket.list(self._prefix), key=lambda found: found.name == self._name(JOB)):
            self._bucket.delete(found.name)
        super().remove()

    def _listed(self) -> Iterator[tuple[str, str]]:
        """List the names of the records in the store, with the tags of their contents."""
        for found in self._bucket.list(self._prefix):
            name = found.name.removeprefix(self._prefix).removesuffix(".json")
            if name == JOB or (name.isdecimal() and name == str(int(name))):
                yield name, found.etag.strip('"')

    def _name(self, name: str) -> str:
        """What a record is called in the store."""
        return f"{self._prefix}{name}.json"

    def _tag(self, name: str) -> str:
        """The tag that S3 gives what lies here, where it encrypts nothing by keys of its own; another one costs a request."""
        with suppress(OSError):
            return hashlib.md5(read_file(self._file(name)), usedforsecurity=False).hexdigest()
        return ""

    def _take(self, name: str, data: bytes) -> bool:
        """Put a record of the store into its place here, unless it is damaged; with another job all that was of the one before goes."""
        if self._sound(name, data) is None:
            return False
        before = None
        with suppress(OSError):
            before = read_file(self._file(name))
        if before != data:
            if before is not None and name == JOB:
                super().remove()
            write_atomically(self._file(name), data)
        return True

    def _sound(self, name: str, data: bytes) -> ShareJob | ShareRecord | None:
        """Read a record of the store aside; None where it is not what its name says."""
        self._goal.parent.mkdir(parents=True, exist_ok=True)
        with aside(self._goal, folder=True) as there:
            folder = ShareFolder(there, self.stage, self.key)
            write_atomically(folder._file(name), data)
            with suppress(DamageError):
                return folder.job() if name == JOB else folder.record(int(name))
        return None

    def _restless(self, name: str) -> UnreachableError:
        """Say that others write what is to be written."""
        return UnreachableError(f"{self._bucket.url}: {name} changes while it is written. Run the same command again.")


def share_folder(workspace: WorkspaceLike, stage: str, key: str) -> ShareFolder:
    """Find the records of a map that is computed in shares."""
    if workspace.remote is None:
        return ShareFolder(workspace.folder, stage, key)
    return SharedFolder(workspace.folder, stage, key, workspace.remote.bucket)


def bring_shares(workspace: WorkspaceLike, stage: str | None = None) -> None:
    """Take over what the object store says of the shares of a stage, or of all; nothing without one.

    Raises:
        UnreachableError: the store does not answer.
    """
    if workspace.remote is None:
        return
    names = [found.name.split("/") for found in workspace.remote.bucket.list(f"{FOLDER}/{stage}/" if stage else f"{FOLDER}/")]
    there = {(words[1], words[2]) for words in names if len(words) == 4}
    for name, key in sorted(there | {*begun_shares(workspace.folder)}):
        if stage in (None, name) and is_key(key) and not climbing([name]):
            share_folder(workspace, name, key).bring()
