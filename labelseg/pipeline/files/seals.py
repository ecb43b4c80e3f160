"""Seals: a digest that stands inside of what it covers, so that one file proves by itself that it is what was written.

The writer puts ``BLANK`` where the seal will stand and digests all bytes with it; a reader puts it back and compares.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from blake3 import blake3

from labelseg.file_kinds import demand_file
from labelseg.pipeline.files.digests import DIGEST_BYTES, digest

BLANK = "0" * (2 * DIGEST_BYTES)
CHANGED = "the content is not what was written"
_SEAL = re.compile(rb'"seal": ?"([0-9a-f]{32})"')
_READ_BYTES = 1 << 20
_LENGTH_BYTES = 8


def seal(data: bytes, place: bytes = b"") -> bytes:
    """Fill in the seal of a JSON text, whose last value it is; it also covers the place of the text, where that matters."""
    start, stop = _last(data)
    return data[:start] + digest(place + data).encode() + data[stop:]


def intact_seal(data: bytes, place: bytes = b"") -> str:
    """Return the seal of a JSON text, which also covers its place.

    Raises:
        ValueError: it has none, or the text is not what was sealed.
    """
    start, stop = _last(data)
    stated = data[start:stop].decode()
    if digest(place + data[:start] + BLANK.encode() + data[stop:]) != stated:
        raise ValueError(CHANGED)
    return stated


def seal_tensors(path: Path) -> None:
    """Fill in the seal of a safetensors file, an entry ``seal`` of its metadata."""
    with path.open("r+b") as file:
        start, stated = _tensor_seal(file.fileno())
        os.pwrite(file.fileno(), stated.encode(), start)


def intact_tensors(path: Path) -> bool:
    """Whether a safetensors file has a seal; one written before there were seals has none.

    Raises:
        ValueError: the file is not what was sealed.
        OSError: it cannot be read.
    """
    demand_file(path)
    with path.open("rb") as file:
        start, found = _tensor_seal(file.fileno())
        if start and os.pread(file.fileno(), len(BLANK), start).decode("ascii", "replace") != found:
            raise ValueError(CHANGED)
    return start > 0


def _last(data: bytes) -> tuple[int, int]:
    """Find where the seal stands in a JSON text."""
    at = data.rfind(b'"seal":')
    found = _SEAL.match(data, at) if at >= 0 else None
    if found is None:
        raise ValueError("it has no seal")
    return found.span(1)


def _tensor_seal(file: int) -> tuple[int, str]:
    """Find where the seal stands in a safetensors file, 0 where there is none, and digest the file."""
    size = os.fstat(file).st_size
    length = int.from_bytes(os.pread(file, _LENGTH_BYTES, 0), "little")
    if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
        raise ValueError("its header is cut off")
    head = os.pread(file, _LENGTH_BYTES + length, 0)
    found = _SEAL.search(head)
    if found is None:
        return 0, ""
    start, stop = found.span(1)
    hasher = blake3(head[:start] + BLANK.encode() + head[stop:])
    at = len(head)
    while block := os.pread(file, _READ_BYTES, at):
        hasher.update(block)
        at += len(block)
    return start, hasher.hexdigest(length=DIGEST_BYTES)
