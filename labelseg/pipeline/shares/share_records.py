"""What is recorded of the shares of a map: how many there are, and for each that is done where its items lie and which failed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from labelseg.errors import ArtifactError, DamageError
from labelseg.pipeline.files.atomic import sync_folder, write_atomically, write_if_absent
from labelseg.pipeline.files.paths import below, climbing, is_key
from labelseg.pipeline.files.share_folders import FOLDER, JOB, begun_shares
from labelseg.pipeline.store.manifests import ManifestItem
from labelseg.pipeline.store.records import FORMAT, read_record, to_json

MOST_SHARES = 1_000_000
LONGEST_RUN = 64  # neighbours lie in one part of what is read
RUNS = 8  # that a share has at least, where there are as many items, so that new images at the end are spread over all
Record = TypeVar("Record", "ShareJob", "ShareRecord")


@dataclass(frozen=True, kw_only=True)
class ShareJob:
    """A map that is computed in shares.

    Attributes:
        stage, key: Which map.
        instance, split: What it is computed for.
        shares: How many shares there are.
        created: When the first of them began (ISO 8601).
    """

    stage: str
    key: str
    instance: str
    split: str
    shares: int
    created: str
    format: int = FORMAT
    seal: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class ShareRecord:
    """A share that is done.

    Attributes:
        stage, key: Of which map.
        share, shares: Which of how many, from 0.
        items: (id, key, part, index, digest) of each item that was computed.
        failed: ``{"id": ..., "error": ...}`` of each that could not be.
        device, seconds, host, created: On what, how long, where and when.
    """

    stage: str
    key: str
    share: int
    shares: int
    items: list[list[str | int]]
    failed: list[dict[str, str]]
    device: str
    seconds: float
    host: str
    created: str
    format: int = FORMAT
    seal: str = field(default="", compare=False)


def share_of(position: int, count: int, shares: int) -> int:
    """Number of the share that an item belongs to: runs of neighbours are dealt out in turn.

    Args:
        position: Of the item, from 0.
        count: Items of the map.
        shares: How many shares there are.
    """
    run = min(LONGEST_RUN, max(1, count // (RUNS * shares)))
    return position // run % shares


def says_the_same(one: ShareRecord, other: ShareRecord) -> bool:
    """Whether two records of a share differ at most in who computed it, and when."""
    return (one.items, one.failed, one.shares) == (other.items, other.failed, other.shares)


class ShareFolder:
    """The records of one map that is computed in shares.

    Args:
        root: The ``.labelseg`` folder.
        stage, key: Which map.

    Raises:
        DamageError: the key is none.
    """

    def __init__(self, root: Path, stage: str, key: str) -> None:
        if not is_key(key):
            raise DamageError(f"{root / FOLDER / stage / key} is no folder of shares: expected a key of 32 hex characters. Remove it.")
        self.path = below(root / FOLDER, stage, key)
        self.stage = stage
        self.key = key
        self._root = root

    def begin(self, job: ShareJob) -> ShareJob:
        """Note that shares are worked on, unless somebody did; return what is noted.

        Raises:
            ArtifactError: what is noted cannot be read.
        """
        write_if_absent(self._file(JOB), to_json(job))
        return self.job() or job

    def job(self) -> ShareJob | None:
        """Read what is noted of the whole; None when nothing is.

        Raises:
            ArtifactError: it cannot be read.
            DamageError: it is not what was written, or that of another map.
        """
        job = self._read(JOB, ShareJob)
        if job is not None and not 0 < job.shares <= MOST_SHARES:
            raise self._damage(JOB, f"it speaks of {'no' if job.shares <= 0 else 'too many'} shares")
        return job

    def publish(self, record: ShareRecord) -> None:
        """Write the record of a share; one that says the same stands, another one gives way: what had failed may be there now."""
        name = str(record.share)
        data = to_json(record)
        if write_if_absent(self._file(name), data):
            return
        there = None
        with suppress(DamageError):
            there = self.record(record.share)
        if there is None or not says_the_same(there, record):
            write_atomically(self._file(name), data)

    def bring(self) -> None:
        """Take over what is recorded elsewhere: nothing, where all machines see this folder."""

    def record(self, share: int) -> ShareRecord | None:
        """Read the record of a share; None when it is not done.

        Raises:
            ArtifactError: it cannot be read.
            DamageError: it is not what was written, or that of another share or map.
        """
        name = str(share)
        record = self._read(name, ShareRecord)
        if record is None:
            return None
        try:
            items = [ManifestItem(*row) for row in record.items]  # type: ignore[arg-type]
            failed = [failure["id"] for failure in record.failed if isinstance(failure["error"], str)]
            sound = all(
                isinstance(i.id, str) and is_key(i.key) and is_key(i.part) and type(i.index) is int and is_key(i.digest) for i in items
            )
            if record.share != share or not sound or len(failed) != len(record.failed) or climbing([*(i.id for i in items), *failed]):
                raise ValueError("what it says of its items cannot be")
        except (TypeError, ValueError, KeyError) as error:
            raise self._damage(name, str(error)) from error
        return record

    def done(self, shares: int) -> list[int]:
        """List the shares of which there is a record, sound or not."""
        names = (path.stem for path in self.path.glob("*.json") if path.is_file())
        there = sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))
        return [share for share in there if share < shares]

    def remove(self) -> None:
        """Forget the shares; what they computed stays."""
        # What says that there are shares goes last: until then nothing that they need is taken for rubbish.
        if self.path.is_symlink() or not self.path.is_dir():
            return
        for path in sorted(self.path.iterdir(), key=lambda path: path.name == f"{JOB}.json"):
            path.unlink()
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.parent.is_dir():
            sync_folder(self.path.parent)

    def damages(self) -> list[tuple[Path, str]]:
        """List the records that are not what was written, each with what is wrong."""
        found = []
        for path in sorted(self.path.glob("*.json")):
            if path.name.startswith("."):
                continue
            try:
                if path.stem == JOB:
                    self.job()
                elif path.stem.isdecimal() and str(int(path.stem)) == path.stem:
                    self.record(int(path.stem))
                else:
                    raise DamageError(f"{path} is no record of a share. Remove it: labelseg verify --repair {self.stage}")
            except DamageError as error:
                found.append((path, str(error)))
        return found

    def _file(self, name: str) -> Path:
        """Where a record lies."""
        return below(self.path, f"{name}.json")

    def _read(self, name: str, kind: type[Record]) -> Record | None:
        """Read a record and compare it with its place."""
        values = read_record(self._file(name), kind, self.stage)
        if values is None:
            return None
        record = kind(**values)
        if (record.stage, record.key) != (self.stage, self.key):
            raise self._damage(name, f"it is one of {record.stage} under the key {record.key}")
        return record

    def _damage(self, name: str, what: str) -> DamageError:
        """Say that a record is none."""
        return DamageError(f"{self._file(name)} is damaged: {what}. Remove it: labelseg verify --repair {self.stage}")


@dataclass(frozen=True)
class Unfinished:
    """Shares that are begun, as far as their records can be read.

    Attributes:
        folder: Their records.
        job: What is noted of the whole; None where that cannot be read.
        done: The shares that have a record.
        problem: Why what is noted cannot be read; empty where it can.
    """

    folder: ShareFolder
    job: ShareJob | None
    done: Sequence[int] = ()
    problem: str = ""


def unfinished_shares(root: Path, stage: str | None = None) -> list[Unfinished]:
    """List the maps of a stage, or of all, of which shares are begun and the whole is not published."""
    found = []
    for name, key in begun_shares(root):
        if stage not in (None, name) or not is_key(key):
            continue
        folder = ShareFolder(root, name, key)
        try:
            job = folder.job()
        except ArtifactError as error:
            found.append(Unfinished(folder, None, problem=str(error)))
        else:
            found.append(Unfinished(folder, job, folder.done(job.shares) if job is not None else []))
    return found
