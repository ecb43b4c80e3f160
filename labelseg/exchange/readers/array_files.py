"""Arrays of numbers that other programs wrote: numpy files and zarr. Nothing is ever unpickled."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import BaseZarrError

from labelseg.errors import DataError
from labelseg.file_kinds import demand_file

UNNAMED = ""
_STARTS = (b"\x93NUMPY", b"PK\x03\x04", b"\x80")  # of npy, npz, and of Python objects, which numpy refuses
# What numpy, zarr and their codecs raise where bytes are not what they wrote.
_UNREADABLE = (
    OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, EOFError, SyntaxError, MemoryError,
    tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error, BaseZarrError,
)  # fmt: skip
_SAVE = "Save plain arrays, without pickle: np.savez_compressed(file, NAME=array)"


def read_arrays(path: Path) -> dict[str, Any]:
    """Read all arrays of a file.

    Args:
        path: ``.npy``; ``.npz``; or a folder that is an array or a group of zarr, with its attributes.

    Returns:
        Name -> array, or plain value of an attribute; of a file with one array that has no name, ``UNNAMED`` -> array.

    Raises:
        DataError: it cannot be read as such, or holds Python objects.
    """
    try:
        if path.is_dir():
            return _read_zarr(path)
        demand_file(path)
        with open(path, "rb") as file:
            start = file.read(len(_STARTS[0]))
            file.seek(0)
            if not start.startswith(_STARTS):  # numpy takes all else for Python objects
                raise ValueError("it begins otherwise than such a file")
            found = np.load(file, allow_pickle=False)
            return {name: found[name] for name in found.files} if isinstance(found, np.lib.npyio.NpzFile) else {UNNAMED: found}
    except _UNREADABLE as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise DataError(f"{path}: expected arrays of numbers, found Python objects, which are never loaded. {_SAVE}") from error
        raise DataError(
            f"{path}: expected a whole file of arrays (npy, npz or zarr), found none that can be read: {error}. {_SAVE}"
        ) from error


def take_array(arrays: Mapping[str, Any], name: str, path: Path) -> NDArray[Any]:
    """Take an array of numbers by its name, or the only one where it has none.

    Raises:
        DataError: there is none, or it holds no finite numbers.
    """
    value = arrays.get(name, arrays.get(UNNAMED))
    if not isinstance(value, np.ndarray):
        there = ", ".join(sorted(arrays)) or "none"
        raise DataError(f"{path}: expected an array '{name}', found {there}. {_SAVE.replace('NAME', name)}")
    if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
        what = value.dtype.name if value.dtype.kind not in "fiu" else f"{(~np.isfinite(value)).sum():,} that are not finite"
        raise DataError(f"{path}: expected finite numbers in '{name}', found {what}. Write it anew without them.")
    return value


def _read_zarr(path: Path) -> dict[str, Any]:
    """Read an array with its attributes, or the arrays of a group with those of the group."""
    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return {**dict(node.attrs), UNNAMED: np.asarray(node[...])}
    return {**dict(node.attrs), **{name: np.asarray(array[...]) for name, array in node.arrays()}}
