"""Where parts lie and what they hold, read from their plain JSON without zarr."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labelseg.errors import ArtifactError, DamageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.paths import below, is_key
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal
from labelseg.pipeline.lazy_rows import LazyRows
from labelseg.pipeline.store.away.marks import away_header, away_parts, is_away
from labelseg.pipeline.store.records import FORMAT, UNSEALED, repair

DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
LARGE_BYTES = 64 << 10  # from here on the items of a header are read one by one
FEW_KEYS = 64  # so many can be looked for in a text in less time than it takes to read it as JSON


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
        return cls.parse(path, _read(path))

    @classmethod
    def parse(cls, path: Path, data: bytes) -> PartHeader:
        """Read the header of the part at ``path`` from the bytes of its file.

        Raises:
            DamageError: as ``read``.
        """
        try:
            attributes = json.loads(data)["attributes"]
            if attributes["format"] == FORMAT:
                intact_seal(data)
            elif attributes["format"] != UNSEALED:
                raise DamageError(f"{path} is format {attributes['format']}, expected {FORMAT}. {remedy(path)}")
            items = tuple(_item(index, item) for index, item in enumerate(attributes["items"]))
            header = cls(path.stem, attributes["stage"], items, attributes["header"])
            if part_id(header.stage, [(i.id, i.key, i.digest) for i in items]) != path.stem or header.stage != path.parent.parent.name:
                raise ValueError("it is the header of another part")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamageError(f"{path}: the header is damaged ({type(error).__name__}: {error}). {remedy(path)}") from error
        return header


class HeaderRows(LazyRows[HeaderItem]):
    """The items of the part at ``path``, each read when it is asked for: of thousands in a part a random read needs one.

    Raises:
        ArtifactError, DamageError: as ``PartHeader.read``.
    """

    def __init__(self, path: Path) -> None:
        data = _read(path)
        self._path = path
        self._texts: list[bytes] = []
        self._items: tuple[HeaderItem, ...] = ()
        if len(data) < LARGE_BYTES or not _is_sealed(path, data) or data.count(_ITEMS) != 1:
            self._items = PartHeader.parse(path, data).items
        elif not data.startswith(b'"stage":%s,' % json.dumps(path.parent.parent.name).encode(), len(_START % path.stem.encode())):
            raise DamageError(f"{path}: it is the part of another stage. {remedy(path)}")
        else:
            self._texts = data[data.index(_ITEMS) + len(_ITEMS) : data.rindex(b'],"seal":')].split(_NEXT)

    def __len__(self) -> int:
        return len(self._texts) or len(self._items)

    def row(self, k: int) -> HeaderItem:
        """Read the item at a place."""
        if not self._texts:
            return self._items[k]
        try:
            # In JSON a quote within a text is escaped, so nothing else in a header reads as the start of an item.
            return _item(k, json.loads(b'{"id":"' + self._texts[k]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamageError(f"{self._path}: the header is damaged ({type(error).__name__}: {error}). {remedy(self._path)}") from error


def is_in_place(path: Path) -> bool:
    """Whether a part is there with a header that is what was written for it: quick, for many parts, without reading what it says.

    Of a part from before there were seals only that it is there can be told so quickly; so of one that lies in an object store.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        data = _read(path)
    except DamageError:
        return is_away(path)
    return data.startswith(_UNSEALED_START) or _is_sealed(path, data)


def ways(root: Path, stage: str) -> Iterator[tuple[Any, Any]]:
    """Yield how the parts of a stage were made, as (version, parameters), each once; damaged headers are left out. Items are not read."""
    seen: list[tuple[Any, Any]] = []
    for path in known_paths(root, stage):
        with suppress(ArtifactError):
            header = _way(path, _read(path))
            way = header.get("version"), header.get("params")
            if way not in seen:
                seen.append(way)
                yield way


def headers_holding(root: Path, stage: str, keys: Collection[str]) -> Iterator[PartHeader]:
    """Read the headers of a stage that may hold an item of one of these keys, in a fixed order; damaged ones are left out.

    Of a few keys only headers are read further in which one stands. One header is held at a time.
    """
    few = [key.encode("ascii") for key in keys] if len(keys) <= FEW_KEYS else []
    for path in known_paths(root, stage) if keys else ():
        with suppress(ArtifactError):
            data = _read(path)
            if not few or any(key in data for key in few):
                yield PartHeader.parse(path, data)


def is_sealed(path: Path) -> bool:
    """Whether a part is there with a header that has a seal, is what was written for it and can be read, or lies in an object store."""
    try:
        return _is_sealed(path, _read(path))
    except ArtifactError:
        return is_away(path)


def _is_sealed(path: Path, data: bytes) -> bool:
    """Whether the bytes of a header are what was written for the part at ``path``."""
    try:
        return data.startswith(_START % path.stem.encode()) and bool(intact_seal(data))
    except ValueError:
        return False


def _way(path: Path, data: bytes) -> dict[str, Any]:
    """Read what the writer of a part gave with it; of a sealed header only that."""
    if not data.startswith(_START % path.stem.encode()):
        return PartHeader.parse(path, data).header
    try:
        intact_seal(data)
        at = data.index(_HEADER) + len(_HEADER)
        return dict(json.JSONDecoder().raw_decode(data.decode("ascii"), at)[0])
    except (ValueError, TypeError, RecursionError) as error:
        raise DamageError(f"{path}: the header is damaged ({type(error).__name__}: {error}). {remedy(path)}") from error


_HEADER = b',"header":'
_ITEMS, _NEXT = b',"items":[{"id":"', b',{"id":"'
_GROUP = b'{"zarr_format":3,"node_type":"group","attributes":{"format":%d,'
_START = _GROUP % FORMAT + b'"part":"%s",'
_UNSEALED_START = _GROUP % UNSEALED


def _read(path: Path) -> bytes:
    """Read the file of a header."""
    try:
        return read_file(path / "zarr.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        if header := away_header(path):
            return header
        raise DamageError(f"{path} is missing. {remedy(path)}") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}. See that it can, then try again.") from error


def _item(index: int, item: dict[str, Any]) -> HeaderItem:
    """Read one item of a header."""
    return HeaderItem(item["id"], item["key"], index, item["digest"], {n: _slice(n, *a) for n, a in item["arrays"].items()})


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


def known_paths(root: Path, stage: str) -> list[Path]:
    """List the parts of a stage whose headers may be read, in a fixed order: those that lie here, and those that lie in an object store."""
    return sorted({*part_paths(root, stage), *(part_path(root, *name) for name in away_parts(root, stage))})


def remedy(path: Path) -> str:
    """Say how to get a damaged part back."""
    return repair(path.parent.parent.name)
