"""Text files that people write."""

from __future__ import annotations

import codecs
from pathlib import Path

from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind, read_file


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, with or without byte order mark, or a UTF-16 file with one, as spreadsheets write "Unicode text".

    Raises:
        DataError: the file is missing, no file or not UTF-8.
    """
    if kind := odd_kind(path):
        raise DataError(f"{path}: expected a text file, found {kind}.")
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    if content[:4] == b"PK\x03\x04":
        raise DataError(f"{path}: expected a text file, found a zip archive, such as an Excel workbook. Save the table as CSV (UTF-8).")
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path}: expected UTF-8 text, found byte 0x{byte:02x} at {error.start}. Save it as UTF-8.") from error
