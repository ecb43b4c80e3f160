"""Where parts lie and what they hold, read from their plain JSON without zarr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labelseg.errors import ArtifactError, DamageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.paths import below, is_key
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal
from labelseg.pipeline.store.records import FORMAT, UNSEALED, repair

DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")


class ArraySlice(NamedTuple):
    """Where an array of an item lies in the flat array ``data/<name>.<dtype>``."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class HeaderItem(NamedTuple):
    """One item of a part; ``arrays`` maps the name of an array to where it lies."""

    id: str
    key: str
    index: int  # type: ignore[assignment]
    digest: str
    arrays: dict[str, ArraySlice]


@dataclass(frozen=True)
class PartHeader:
    """What a part says of itself: its id, its stage, its items, and the header that its writer gave it."""

    part_id: str
    stage: str
    items: tuple[HeaderItem, ...]
    header: dict[str, Any]

    def to_json(self) -> bytes:
        """Write the header as the metadata of a zarr group."""
        items = [{"id": i.id, "key": i.key, "digest": i.digest, "arrays": i.arrays} for i in self.items]
        attributes = {"format": FORMAT, "part": self.part_id, "stage": self.stage, "header": self.header, "items": items, "seal": BLANK}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return seal(json.dumps(group, separators=(",", ":"), allow_nan=False).encode("ascii"))

    @classmethod
    def read(cls, path: Path) -> PartHeader:
        """Read the header of the part at ``path``.

        Raises:
            ArtifactError: the part cannot be read at this moment.
            DamageError: it is missing, of another format, not what was written, or is another part than its folder says.
        """
        data = _read(path)
        try:
            attributes = json.loads(data)["attributes"]
            if attributes["format"] == FORMAT:
                intact_seal(data)
            elif attributes["format"] != UNSEALED:
                raise DamageError(f"{path} is format {attributes['format']}, expected {FORMAT}. {remedy(path)}")
            items = tuple(
                HeaderItem(item["id"], item["key"], index, item["digest"], {n: _slice(n, *a) for n, a in item["arrays"].items()})
                for index, item in enumerate(attributes["items"])
            )
            header = cls(path.stem, attributes["stage"], items, attributes["header"])
            if part_id(header.stage, [(i.id, i.key, i.digest) for i in items]) != path.stem or header.stage != path.parent.parent.name:
                raise ValueError("it is the header of another part")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamageError(f"{path}: the header is damaged ({type(error).__name__}: {error}). {remedy(path)}") from error
        return header


def is_in_place(path: Path) -> bool:
    """Whether a part is there with a header that is what was written for it: quick, for many parts, without reading what it says.

    Of a part from before there were seals only that it is there can be told so quickly.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        data = _read(path)
    except DamageError:
        return False
    if data.startswith(_UNSEALED_START):
        return True
    try:
        return data.startswith(_START % path.stem.encode()) and bool(intact_seal(data))
    except ValueError:
        return False


_GROUP = b'{"zarr_format":3,"node_type":"group","attributes":{"format":%d,'
_START = _GROUP % FORMAT + b'"part":"%s",'
_UNSEALED_START = _GROUP % UNSEALED


def _read(path: Path) -> bytes:
    """Read the file of a header."""
    try:
        return read_file(path / "zarr.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamageError(f"{path} is missing. {remedy(path)}") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}. See that it can, then try again.") from error


def _slice(name: str, dtype: str, shape: list[int], offset: int) -> ArraySlice:
    """Read where an array lies; what is said of it becomes a file name, so only what a writer would write is taken."""
    if not is_array_name(name) or dtype not in DTYPES or any(type(n) is not int or n < 0 for n in (*shape, offset)):
        raise ValueError(f"array {name!r} is none")
    return ArraySlice(dtype, tuple(shape), offset)


def is_array_name(name: str) -> bool:
    """Whether an array may have a name: one that makes one file name and means nothing to zarr."""
    return bool(name) and not name.startswith((".", "_")) and "/" not in name and "\0" not in name


def part_id(stage: str, items: list[tuple[str, str, str]]) -> str:
    """Digest the (id, key, content digest) of a part's items into its id.

    What else the header says, such as the device, stays out: equal items are the same part, and the first one published stands.
    """
    return digest("part", stage, *(text for item in items for text in item))


def part_path(root: Path, stage: str, part: str) -> Path:
    """Where a part lies below the ``.labelseg`` folder.

    Raises:
        DamageError: the id has not the form of one.
    """
    if not is_key(part):
        raise DamageError(f"{part!r} is no part of {stage}: expected 32 hex characters. {repair(stage)}")
    return below(root / "objects", stage, part[:2], f"{part}.zarr")


def part_paths(root: Path, stage: str = "*") -> Iterator[Path]:
    """List the parts of a stage, or of all stages, in a fixed order."""
    yield from sorted((root / "objects").glob(f"{stage}/*/*.zarr"))


def remedy(path: Path) -> str:
    """Say how to get a damaged part back."""
    return repair(path.parent.parent.name)
