"""Parts on their way to an object store and back: sent once, fetched aside, checked, and put in place by one rename."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labelseg.asides.making import aside
from labelseg.errors import ArtifactError, DamageError, UnreachableError
from labelseg.pipeline.files.atomic import may_only_read, sync_folder, sync_tree
from labelseg.pipeline.files.paths import remove
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.remote.packing import BEGINNING, first_header, header_length, pack, unpack
from labelseg.pipeline.store.away.marks import mark_away, note_damage, strike_mark
from labelseg.pipeline.store.headers import PartHeader, part_path
from labelseg.pipeline.store.records import repair
from labelseg.pipeline.store.soundness import Notes

logger = logging.getLogger(__name__)

ENDING = ".zarr.zip"
PAUSE_SECONDS = 60.0  # after the store did not answer, parts are not offered to it for so long


class RemoteParts:
    """The parts of a workspace in a bucket. Can be pickled: a worker opens a connection of its own.

    Args:
        root: The ``.labelseg`` folder.
        bucket: Where they lie.
    """

    def __init__(self, root: Path, bucket: Bucket) -> None:
        self._root = root
        self._bucket = bucket
        self._silent_until = 0.0

    def __reduce__(self) -> tuple[type[RemoteParts], tuple[Path, Bucket]]:
        return RemoteParts, (self._root, self._bucket)

    def send(self, stage: str, part: str) -> None:
        """Put a part that lies here into the store; where that cannot be done now, its manifest takes it along later."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self.put(stage, part)
        except UnreachableError as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("%s The work goes on; what it makes is sent later.", error)

    def put(self, stage: str, part: str) -> None:
        """Put a part that lies here into the store; an equal one that is there stands, a damaged one gives way.

        Raises:
            DamageError: it does not lie here, or is damaged.
            ArtifactError: another part is there under its name.
            UnreachableError: the store does not answer.
        """
        path, name = part_path(self._root, stage, part), object_name(stage, part)
        if not path.is_dir():
            raise DamageError(f"{path} is missing. {repair(stage)}")
        PartHeader.read(path)
        data = pack(path)
        for _ in range(2):
            if self._bucket.create(name, data) is not None:
                return
            there = self._bucket.get(name)
            if there is None:  # it has gone since
                continue
            found, etag = there
            if found == data or self._is_sound(stage, part, found):
                return
            self._refuse_another(name, part, found)
            if self._bucket.replace(name, data, etag) is not None:
                logger.warning("%s/%s was damaged, and is written again.", self._bucket.url, name)
                return
        raise UnreachableError(f"{self._bucket.url}: {name} changes while it is written. Run the same command again.")

    def fetch(self, stage: str, part: str) -> None:
        """Bring a part here, checked; a damaged one that lies here gives way.

        Raises:
            DamageError: it is not there, or is not what was written.
            UnreachableError: the store does not answer.
        """
        path, name = part_path(self._root, stage, part), object_name(stage, part)
        gives_way = os.path.lexists(path)
        there = self._bucket.get(name)
        if there is None:
            raise DamageError(f"{self._bucket.url}/{name} is gone, and lies not in {path} either. {repair(stage)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._unpacked(stage, part, there[0]) as made:
                sync_tree(made)
                _place(made, path, gives_way=gives_way)
        except DamageError:
            with may_only_read():
                note_damage(self._root, stage, part, there[1])
            raise
        strike_mark(self._root, stage, part)
        Notes(self._root).remove(stage, part)

    def bring_header(self, stage: str, part: str) -> bool:
        """Fetch the header of a part that does not lie here; whether it is there and sound."""
        name = object_name(stage, part)
        with suppress(ValueError, DamageError):
            beginning = self._bucket.beginning(name, BEGINNING)
            length = header_length(beginning)
            if length > len(beginning):
                beginning = self._bucket.beginning(name, length)
            header = first_header(beginning)
            PartHeader.parse(part_path(self._root, stage, part), header)
            mark_away(self._root, stage, part, header)
            return True
        return False

    def is_sound(self, stage: str, part: str) -> bool:
        """Read a part in the store back and compare its digests; nothing is kept here."""
        there = self._bucket.get(object_name(stage, part))
        return there is not None and self._is_sound(stage, part, there[0])

    def complete(self, stage: str, parts: Iterable[str]) -> None:
        """See that parts are in the store; of what is missing there, that is sent which lies here.

        Raises:
            DamageError: a part lies neither here nor there any more; it no longer counts as being there.
            UnreachableError: the store does not answer.
        """
        there = {part_of(found.name) for found in self._bucket.list(f"objects/{stage}/")}
        for part in sorted(set(parts) - there):
            if part_path(self._root, stage, part).is_dir():
                self.put(stage, part)
            else:
                strike_mark(self._root, stage, part)
                raise DamageError(f"{self._bucket.url}/{object_name(stage, part)} went away meanwhile. Run the same command again.")

    def take_out(self, stage: str, parts: Iterable[str]) -> None:
        """Remove those of the parts from the store that are damaged there, so that no machine takes them for sound by their headers.

        Raises:
            ArtifactError: another part is there under the name of one.
            UnreachableError: the store does not answer.
        """
        for part in sorted(parts):
            name = object_name(stage, part)
            there = self._bucket.get(name)
            if there is not None and not self._is_sound(stage, part, there[0]):
                self._refuse_another(name, part, there[0])
                self._bucket.delete(name)

    @contextmanager
    def _unpacked(self, stage: str, part: str, data: bytes) -> Iterator[Path]:
        """Unpack a part beside its place and read all of it back.

        Raises:
            DamageError: it is not what was written.
        """
        from labelseg.pipeline.store.parts import OpenPart

        path, name = part_path(self._root, stage, part), object_name(stage, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path, folder=True) as there:
            made = there / stage / part[:2] / path.name
            try:
                unpack(data, made)
                for _, text in OpenPart(made).problems():
                    raise ValueError(text.partition(": ")[0])
            except (ValueError, ArtifactError) as error:
                if not isinstance(error, DamageError | ValueError):
                    raise
                raise DamageError(f"{self._bucket.url}/{name} is not what was written. {repair(stage)}") from error
            yield made

    def _is_sound(self, stage: str, part: str, data: bytes) -> bool:
        """Whether an object is the part that it should be."""
        try:
            with self._unpacked(stage, part, data):
                return True
        except DamageError:
            return False

    def _refuse_another(self, name: str, part: str, data: bytes) -> None:
        """Leave alone what is a sound part of another name, and no damaged one.

        Raises:
            ArtifactError: it is one.
        """
        import json

        from labelseg.pipeline.files.seals import intact_seal

        with suppress(ValueError, KeyError, TypeError):
            header = first_header(data)
            intact_seal(header)
            other = json.loads(header)["attributes"]["part"]
            if other != part:
                raise ArtifactError(
                    f"{self._bucket.url}/{name}: expected the part {part}, found {other}. Somebody else wrote it under this name: "
                    "remove it there, and run the same command again."
                )


def _place(made: Path, path: Path, *, gives_way: bool) -> None:
    """Rename a part to its place; of several processes that fetch it the first one does, unless what is there is damaged."""
    try:
        os.rename(made, path)
    except OSError:
        if not path.exists():
            raise
        if gives_way:
            out = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")
            os.rename(path, out)
            os.rename(made, path)
            remove(out)
    sync_folder(path.parent)


def object_name(stage: str, part: str) -> str:
    """What a part is called in the store."""
    return f"objects/{stage}/{part[:2]}/{part}{ENDING}"


def part_of(name: str) -> str:
    """Id of the part that an object holds."""
    return name.rpartition("/")[2].removesuffix(ENDING)
