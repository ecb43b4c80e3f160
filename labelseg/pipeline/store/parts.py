"""One part: up to 4,096 items in an immutable zarr v3 group."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from blake3 import blake3
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from labelseg.errors import ArtifactError, DamageError
from labelseg.pipeline.files.digests import DIGEST_BYTES
from labelseg.pipeline.store.headers import DTYPES, ArraySlice, HeaderItem, HeaderRows, PartHeader, is_array_name, part_id, remedy
from labelseg.pipeline.store.manifests import ManifestItem
from labelseg.pipeline.store.shards import Shard

CHUNK_BYTES = 256 << 10
MASKS = (ZstdCodec(level=1, checksum=True),)
NUMBERS = (BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec())


@dataclass(frozen=True)
class PartItem:
    """An item to write: its id, its key and its arrays."""

    id: str
    key: str
    arrays: Mapping[str, NDArray]


def array_digest(arrays: Mapping[str, NDArray]) -> str:
    """Digest named arrays (32 hex characters): names, dtypes, shapes and values enter, their order in memory does not."""
    hasher = blake3()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        little = array.dtype.newbyteorder("<")
        hasher.update(json.dumps([name, little.str, array.shape]).encode())
        hasher.update(np.ascontiguousarray(array, dtype=little).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest(length=DIGEST_BYTES)


def write_folder(path: Path, stage: str, header: Mapping[str, Any], items: Sequence[PartItem]) -> PartHeader:
    """Write a part into an empty folder, the header last; equal arrays end to end for each (name, dtype).

    Raises:
        ArtifactError: an array has a dtype or a name that parts cannot hold.
    """
    flat: dict[str, list[NDArray]] = {}
    lengths: dict[str, int] = {}
    rows = []
    for index, item in enumerate(items):
        slices = {}
        for name, value in item.arrays.items():
            array = np.asarray(value)
            _check(stage, item.id, name, array)
            stack = f"{name}.{array.dtype.name}"
            slices[name] = ArraySlice(array.dtype.name, array.shape, lengths.get(stack, 0))
            flat.setdefault(stack, []).append(array.reshape(-1))
            lengths[stack] = lengths.get(stack, 0) + array.size
        rows.append(HeaderItem(item.id, item.key, index, array_digest(item.arrays), slices))
    (path / "data").mkdir(parents=True)
    (path / "data" / "zarr.json").write_bytes(b'{"zarr_format":3,"node_type":"group","attributes":{}}')
    for stack, arrays in flat.items():
        if lengths[stack]:
            _write_flat(path, stack, np.concatenate(arrays))
    written = PartHeader(part_id(stage, [(row.id, row.key, row.digest) for row in rows]), stage, tuple(rows), dict(header))
    (path / "zarr.json").write_bytes(written.to_json())
    return written


class OpenPart:
    """A part opened for reading.

    Args:
        path: Folder of the part.

    Raises:
        ArtifactError: the part is missing, damaged or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = HeaderRows(path)
        self._flat: dict[str, Shard] = {}

    @cached_property
    def header(self) -> PartHeader:
        """All that the part says of itself."""
        return PartHeader.read(self.path)

    def read(self, index: int, named: ManifestItem | None = None) -> dict[str, NDArray]:
        """Read the arrays of one item and compare them with their digest: of large arrays only the chunks that hold it.

        Args:
            index: Place of the item in the part.
            named: What a manifest says of it.

        Raises:
            DamageError: the part has no such item, or its bytes are not what was written.
        """
        if not 0 <= index < len(self._rows):
            raise DamageError(f"{self.path} has {len(self._rows)} items, expected an item {index}. {remedy(self.path)}")
        item = self._rows[index]
        if named is not None and (named.id, named.key, named.digest) != (item.id, item.key, item.digest):
            raise DamageError(f"{named.id}: item {index} of {self.path} is another one, {item.id}. {remedy(self.path)}")
        arrays = {name: self._read(name, where) for name, where in item.arrays.items()}
        if array_digest(arrays) != item.digest:
            raise DamageError(f"{item.id}: {self.path}: the content is not what was written. {remedy(self.path)}")
        return arrays

    def problems(self) -> Iterator[tuple[int, str]]:
        """Read all items back; (index, what is wrong) of each that is not what was written."""
        for item in self.header.items:
            try:
                self.read(item.index)
            except DamageError as error:
                text = str(error)
                yield item.index, text if text.startswith(f"{item.id}: ") else f"{item.id}: {text}"

    def _read(self, name: str, where: ArraySlice) -> NDArray:
        """Read one array of one item."""
        size = math.prod(where.shape)
        if size == 0:
            return np.empty(where.shape, where.dtype)
        stack = f"{name}.{where.dtype}"
        try:
            if stack not in self._flat:
                self._flat[stack] = Shard(self.path / "data" / stack)
            if where.offset + size > self._flat[stack].length:
                raise ValueError(f"expected {where.offset + size} values, got {self._flat[stack].length}")
            return self._flat[stack].read(where.offset, where.offset + size).reshape(where.shape)
        except OSError as error:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise ArtifactError(f"{self.path} cannot be read: {error.strerror}. See that it can, then try again.") from error
            raise DamageError(f"{self.path}: {name} is damaged ({type(error).__name__}: {error}). {remedy(self.path)}") from error
        except (ValueError, RuntimeError, LookupError, TypeError, ArithmeticError) as error:
            raise DamageError(f"{self.path}: {name} is damaged ({type(error).__name__}: {error}). {remedy(self.path)}") from error


def _check(stage: str, item: str, name: str, array: NDArray) -> None:
    """Refuse what a part cannot hold."""
    if array.dtype.name not in DTYPES:
        raise ArtifactError(f"{stage} for {item}: array {name} is {array.dtype}, expected one of {', '.join(DTYPES)}.")
    if not is_array_name(name):
        raise ArtifactError(f"{stage} for {item}: {name!r} cannot be the name of an array: letters, digits, '-', '_' and '.' can.")


def _write_flat(path: Path, stack: str, values: NDArray) -> None:
    """Write a flat array as one shard of 256 KiB chunks."""
    chunk = min(len(values), CHUNK_BYTES // values.itemsize)
    array = zarr.create_array(
        LocalStore(path),
        name=f"data/{stack}",
        shape=values.shape,
        dtype=values.dtype.newbyteorder("<"),
        chunks=(chunk,),
        shards=(chunk * math.ceil(len(values) / chunk),),
        compressors=MASKS if values.itemsize == 1 else NUMBERS,
        # Every chunk is stored, so that a missing one can only mean damage.
        config={"write_empty_chunks": True},
    )
    array[:] = values
