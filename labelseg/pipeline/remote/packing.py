"""A part as one object: an uncompressed zip archive of its folder, its header first, which any zarr reader opens as it is.

One object appears whole or not at all, and costs one request; the header can be read without the arrays.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path

from labelseg.file_kinds import read_file

HEADER = "zarr.json"
BEGINNING = 64 << 10  # bytes of an object in which most headers end
_LOCAL = struct.Struct("<4s5H3L2H")  # what stands before the first file of an archive
_NAME = re.compile(r"zarr\.json|data/zarr\.json|data/[^/\0]+/(zarr\.json|c/0)")
_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal parts make equal archives


def pack(folder: Path) -> bytes:
    """Make an archive of the folder of a part.

    Raises:
        OSError: it cannot be read.
    """
    paths = sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    names = sorted((path.relative_to(folder).as_posix() for path in paths), key=lambda name: (name != HEADER, name))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name, _DATE), read_file(folder / name))
    return held.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Write what an archive holds to a folder that is made for it.

    Raises:
        ValueError: it is no archive of a part, or not what was written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            if not infos or names[0] != HEADER or len({*names}) != len(names) or not all(map(_NAME.fullmatch, names)):
                raise ValueError("it is no archive of a part")
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos) or any(".." in name.split("/") for name in names):
                raise ValueError("it is no archive of a part")
            for info in infos:
                path = folder / info.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(info))
    except (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"it is no archive: {error}") from error


def header_length(beginning: bytes) -> int:
    """Tell how many bytes of an archive lead to the end of its header.

    Raises:
        ValueError: it does not begin with a header.
    """
    name, start, size, _ = _first(beginning)
    if name != HEADER:
        raise ValueError("it does not begin with a header")
    return start + size


def first_header(beginning: bytes) -> bytes:
    """Take the header from the beginning of an archive.

    Raises:
        ValueError: it does not begin with a header, or that is not what was written.
    """
    stop = header_length(beginning)
    _, start, _, checksum = _first(beginning)
    header = beginning[start:stop]
    if len(beginning) < stop or zlib.crc32(header) != checksum:
        raise ValueError("its header is not what was written")
    return header


def _first(beginning: bytes) -> tuple[str, int, int, int]:
    """Read name, start, size and checksum of the first file of an archive."""
    if len(beginning) < _LOCAL.size:
        raise ValueError("it is cut off")
    sign, _, flags, method, _, _, checksum, packed, size, name, extra = _LOCAL.unpack_from(beginning)
    if sign != b"PK\x03\x04" or flags & 0x9 or method != zipfile.ZIP_STORED or packed != size:
        raise ValueError("it is no archive of a part")
    start = _LOCAL.size + name + extra
    return beginning[_LOCAL.size : _LOCAL.size + name].decode("utf-8", "replace"), start, size, checksum
