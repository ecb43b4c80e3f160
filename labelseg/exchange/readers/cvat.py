"""CVAT "Segmentation mask 1.1": a zip archive, or the folder it was unpacked to."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelseg.class_ids import IGNORE
from labelseg.data.folder.images import UNREADABLE
from labelseg.errors import DataError
from labelseg.exchange.readers.incoming import ClassNames, Incoming, demand_size
from labelseg.file_kinds import demand_file

MASKS, LABELS = "SegmentationClass/", "labelmap.txt"
LARGEST = 1 << 28  # bytes of a mask in an archive, unpacked
# What an archive raises whose bytes are not what was written, or that is packed or locked in a way that Python does not know.
UNPACKABLE = (OSError, ValueError, RuntimeError, EOFError, LookupError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
Colour = tuple[int, ...]


def read_cvat(path: Path, names: ClassNames) -> Iterator[Incoming]:
    """Read the masks; ``labelmap.txt`` says which colour is which class.

    Args:
        path: The archive or the folder.
        names: The classes of the data.

    Raises:
        DataError: it is no such thing, or its list of colours cannot be read.
    """
    files, load = _opened(path)
    if LABELS not in files:
        raise DataError(f"{path}: expected {LABELS} in it, found none. Export from CVAT as 'Segmentation mask 1.1'.")
    colours = _colours(load(LABELS), f"{path} {LABELS}")
    masks = [file for file in files if file.startswith(MASKS) and file.lower().endswith(".png")]
    if not masks:
        raise DataError(f"{path}: expected masks in {MASKS}, found none. Export from CVAT as 'Segmentation mask 1.1'.")
    for file in masks:
        where = f"{path} {file}"
        yield Incoming(file.removeprefix(MASKS)[: -len(".png")], where, _reader(load, file, colours, names, where))


def is_cvat(path: Path) -> bool:
    """Whether a folder or an archive holds such masks."""
    try:
        files, _ = _opened(path)
    except DataError:
        return False
    return any(file.startswith(MASKS) for file in files)


def _opened(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """List the files, and give what reads one."""
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return files, lambda file: (path / file).read_bytes()
    try:
        demand_file(path)
        with zipfile.ZipFile(path) as archive:
            files = sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
    except UNPACKABLE as error:
        raise DataError(f"{path}: expected a zip archive, it cannot be read: {error}.") from error

    def load(file: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(file) as inner:
                data = inner.read(LARGEST + 1)
        except UNPACKABLE as error:
            raise DataError(f"{path} {file}: it cannot be unpacked: {error}.") from error
        if len(data) > LARGEST:
            raise DataError(f"{path} {file}: expected at most {LARGEST:,} bytes, got more.")
        return data

    return files, load


def _colours(data: bytes, where: str) -> dict[Colour, str]:
    """Read ``name:red,green,blue:parts:actions``, a line a class."""
    found: dict[Colour, str] = {}
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.strip().split(":")
        parts = rest[0].split(",") if rest else []
        if len(parts) != 3 or not all(part.strip().isdecimal() and len(part.strip()) <= 3 and int(part) < 256 for part in parts):
            raise DataError(f"{where} line {number}: expected name:red,green,blue::, got {line.strip()[:60]!r}.")
        found[tuple(int(part) for part in parts)] = name
    return found


def _reader(load: Callable[[str], bytes], file: str, colours: dict[Colour, str], names: ClassNames, where: str) -> Any:
    def read(size: tuple[int, int]) -> NDArray[np.uint8]:
        data = load(file)
        try:
            with Image.open(io.BytesIO(data)) as image:
                painted = np.asarray(image.convert("RGB")).astype(np.int64)
        except UNREADABLE as error:
            raise DataError(f"{where}: expected a picture, it cannot be read: {error}.") from error
        demand_size(painted.shape[:2], size, where)
        codes = painted @ np.array([65536, 256, 1])
        mask = np.full(size, IGNORE, np.uint8)
        for code in np.unique(codes).tolist():
            colour = (code >> 16, code >> 8 & 255, code & 255)
            if colour not in colours:
                raise DataError(f"{where}: colour {','.join(map(str, colour))} is not in {LABELS}.")
            mask[codes == code] = names.id_of(colours[colour], where)
        return mask

    return read
