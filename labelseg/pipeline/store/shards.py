"""Reads a flat zarr v3 array of one shard without zarr's machinery: an item costs its own chunks and no more.

zarr reads the same files, and writes them; it opens an array, reads the shard's index and schedules tasks on every access,
which is more work than decompressing the chunks of a mask.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from labelseg.file_kinds import read_file

MISSING = 2**64 - 1  # offset and length of a chunk that is not in the shard
CRC_BYTES = 4


class Shard:
    """A flat array in one shard, opened for reading.

    Args:
        path: Folder of the array, with ``zarr.json`` and ``c/0``.

    Raises:
        OSError: a file is missing.
        ValueError: the array is of another form than the store writes, or its index is damaged.
        KeyError, TypeError: ``zarr.json`` is damaged.
    """

    def __init__(self, path: Path) -> None:
        meta = json.loads(read_file(path / "zarr.json"))
        sharding = meta["codecs"][0]
        (self.length,) = meta["shape"]
        (extent,) = meta["chunk_grid"]["configuration"]["chunk_shape"]
        (self.chunk,) = sharding["configuration"]["chunk_shape"]
        self.dtype = np.dtype(meta["data_type"]).newbyteorder("<")
        if sharding["name"] != "sharding_indexed" or sharding["configuration"]["index_location"] != "end" or extent < self.length:
            raise ValueError("expected one shard with its index at the end")
        self._decode = _decoder(sharding["configuration"]["codecs"])
        self._file = path / "c" / "0"
        self._index = self._read_index(math.ceil(extent / self.chunk))
        self._last: tuple[int, NDArray[Any]] | None = None

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the values from ``start`` to ``stop`` into an array of their own.

        Raises:
            OSError, ValueError, RuntimeError: bytes are missing or damaged.
        """
        values = np.empty(stop - start, self.dtype.newbyteorder("="))
        for number in range(start // self.chunk, -(-stop // self.chunk)):
            first = number * self.chunk
            here, there = max(start, first), min(stop, first + self.chunk)
            values[here - start : there - start] = self._chunk(number)[here - first : there - first]
        return values

    def _chunk(self, number: int) -> NDArray[Any]:
        """Decode a chunk; the last one is kept, because the next item begins in it."""
        if self._last is None or self._last[0] != number:
            offset, size = map(int, self._index[number])
            if MISSING in (offset, size):
                raise ValueError(f"chunk {number} is missing")
            values = np.frombuffer(self._decode(self._read_bytes(offset, size)), self.dtype)
            if len(values) != self.chunk:
                raise ValueError(f"chunk {number}: expected {self.chunk} values, got {len(values)}")
            self._last = number, values
        return self._last[1]

    def _read_index(self, chunks: int) -> NDArray[np.uint64]:
        """Read offset and length of each chunk from the end of the shard."""
        size = 16 * chunks
        data = self._read_bytes(self._file.stat().st_size - size - CRC_BYTES, size + CRC_BYTES)
        return np.frombuffer(_without_crc(data), "<u8").reshape(chunks, 2)

    def _read_bytes(self, offset: int, size: int) -> bytes:
        """Read a range of the shard."""
        if offset < 0:
            raise ValueError(f"{self._file.name} is too short")
        file = os.open(self._file, os.O_RDONLY)
        try:
            data = os.pread(file, size, offset)
        finally:
            os.close(file)
        if len(data) != size:
            raise ValueError(f"expected {size} bytes at {offset}, got {len(data)}")
        return data


def _decoder(codecs: list[dict[str, Any]]) -> Callable[[bytes], bytes]:
    """Choose how chunks are decoded: zstd with its own checksum, or blosc behind crc32c."""
    names = [codec["name"] for codec in codecs]
    if names == ["bytes", "zstd"]:
        return zstd.decompress
    if names == ["bytes", "blosc", "crc32c"]:
        return lambda data: blosc.decompress(_without_crc(data))
    raise ValueError(f"expected the codecs zstd, or blosc and crc32c, got {', '.join(names)}")


def _without_crc(data: bytes) -> bytes:
    """Check and remove the checksum behind some bytes."""
    content, stated = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if google_crc32c.value(content).to_bytes(CRC_BYTES, "little") != stated:
        raise ValueError("the checksum does not fit")
    return content
