"""Class lists and image-level tags as text files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from labelseg.class_ids import BACKGROUND, IGNORE
from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind
from labelseg.suggestions import suggestion

HEADER = ("image", "labels")
SEPARATORS = re.compile("[;|]")


@dataclass(frozen=True)
class LabelRow:
    """One row of a label table: the image as written, the sorted class ids without background, and the line for messages."""

    image: str
    class_ids: tuple[int, ...]
    line: int


def check_classes(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Check a class list: 1 to 255 names, none empty, repeated or holding a separator.

    Raises:
        DataError: the list breaks one of these rules.
    """
    classes = tuple(names)
    if not 0 < len(classes) <= IGNORE:
        raise DataError(f"{where}: expected 1 to {IGNORE} classes, got {len(classes)}.")
    for class_id, name in enumerate(classes):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{where}: class {class_id} has no name.")
        if SEPARATORS.search(name):
            raise DataError(f"{where}: class {class_id} '{name}' holds ; or |, which separate labels. Rename it.")
        if name in classes[:class_id]:
            raise DataError(f"{where}: class '{name}' is listed twice.")
        if name == BACKGROUND and class_id:
            raise DataError(f"{where}: '{BACKGROUND}' is class {class_id}; it must come first, as class 0.")
    return classes


def read_classes(path: Path) -> tuple[str, ...]:
    """Read a class list: line k names class k; trailing empty lines do not count.

    Raises:
        DataError: the file is missing or breaks the rules of :func:`check_classes`.
    """
    return check_classes((line.strip() for line in read_text(path).rstrip().splitlines()), str(path))


def infer_classes(path: Path) -> tuple[str, ...]:
    """Collect the classes that a label table names: ``background`` first, the others sorted.

    Spaces separate labels unless some cell holds ``;`` or ``|``: without a class list nothing else separates them from names with spaces.
    """
    cells = [labels for _, _, labels in _rows(path)]
    spaced = not any(SEPARATORS.search(cell) for cell in cells)
    names = {name.strip() for cell in cells for name in (cell.split() if spaced else SEPARATORS.split(cell))}
    return check_classes((BACKGROUND, *sorted(names - {"", BACKGROUND})), str(path))


def read_labels(path: Path, classes: Sequence[str]) -> list[LabelRow]:
    """Read a label table: CSV with the header ``image,labels``, labels separated by ``;``, ``|`` or spaces.

    Spaces separate only where the whole cell is no class and every token is one. An empty cell means that the image
    is known to hold no class; the name of the background adds nothing.

    Raises:
        DataError: wrong header or number of columns, unknown class; the message names the line.
    """
    index = {name: class_id for class_id, name in enumerate(classes)}
    rows = []
    for line, image, cell in _rows(path):
        ids = {index[name] for name in _split_cell(cell, index, f"{path} line {line}")}
        rows.append(LabelRow(image, tuple(sorted(ids - {index.get(BACKGROUND)})), line))
    return rows


def write_labels(path: Path, tags: Mapping[str, Iterable[int]], classes: Sequence[str]) -> None:
    """Write a label table that :func:`read_labels` reads back."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows((image, ";".join(classes[k] for k in class_ids)) for image, class_ids in tags.items())


def read_voc_annotation(path: Path, classes: Sequence[str]) -> tuple[int, ...]:
    """Read the sorted class ids of the objects in a Pascal VOC annotation; difficult objects count.

    Raises:
        DataError: the file is no XML or names an unknown class.
    """
    if kind := odd_kind(path):
        raise DataError(f"{path}: expected a VOC annotation, found {kind}.")
    try:
        objects = ElementTree.parse(path).getroot().iterfind("object/name")
    except (OSError, ElementTree.ParseError, LookupError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a VOC annotation: {error}.") from error
    index = {name: class_id for class_id, name in enumerate(classes)}
    found = set()
    for element in objects:
        name = (element.text or "").strip()
        if name not in index:
            raise _no_class(str(path), name, tuple(classes))
        found.add(index[name])
    return tuple(sorted(found))


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, with or without byte order mark.

    Raises:
        DataError: the file is missing, no file or not UTF-8.
    """
    if kind := odd_kind(path):
        raise DataError(f"{path}: expected a text file, found {kind}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, found byte 0x{error.object[error.start]:02x} at {error.start}.") from error


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Read (line, image, labels) of every row that is not blank, after checking the header."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    try:
        return list(_checked_rows(reader, path))
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: expected a CSV table: {error}.") from error


def _checked_rows(reader: Any, path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield what :func:`_rows` returns."""
    header = [cell.strip().lower() for cell in next(reader, [])]
    if tuple(header) != HEADER:
        raise DataError(f"{path} line 1: expected the header {','.join(HEADER)}, got {','.join(header)!r}.")
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != 2:
            raise DataError(f"{path} line {reader.line_num}: expected 2 columns, got {len(cells)}. Separate labels by ;")
        yield reader.line_num, cells[0].strip(), cells[1].strip()


def _split_cell(cell: str, index: Mapping[str, int], where: str) -> list[str]:
    """Split a cell into class names."""
    if SEPARATORS.search(cell):
        names = [name.strip() for name in SEPARATORS.split(cell) if name.strip()]
    else:
        names = [cell] if cell in index else cell.split()
    for name in names:
        if name not in index:
            raise _no_class(where, name, tuple(index))
    return names


def _no_class(where: str, name: str, classes: tuple[str, ...]) -> DataError:
    """Say that a label names no class, and which there are."""
    return DataError(f"{where}: '{name}' is no class.{suggestion(name, classes, listed='Classes')}")
