"""Tables of tags in the forms that spreadsheets, data frames and labelling tools write."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labelseg.data.folder.findings import Finding
from labelseg.data.folder.text_files import read_text
from labelseg.errors import DataError
from labelseg.wording import some_of

HEADER = ("image", "labels")
IMAGE_COLUMNS = (
    "image",
    "images",
    "filename",
    "file_name",
    "file",
    "image_name",
    "image_id",
    "image_path",
    "filepath",
    "path",
    "img",
    "photo",
    "picture",
    "name",
    "id",
)
LABEL_COLUMNS = ("labels", "label", "classes", "class", "tags", "tag", "categories", "category")
ONE_A_ROW = ("label", "class", "tag", "category")  # of these, an image may have several rows
DELIMITERS = (",", ";", "\t")
YES, NO = frozenset({"1", "1.0", "true", "yes", "x"}), frozenset({"", "0", "0.0", "false", "no"})
SEPARATORS = re.compile("[;|,]")
# What programs write where a value is missing; none of these is taken for the name of a class that no list holds.
MISSING = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "null", "none", "undefined", "unknown", "?", "-"})


@dataclass(frozen=True)
class TableRow:
    """A row of a table: the line in the file, the image as written, and the cell of labels or the names that it marks."""

    line: int
    image: str
    labels: str | tuple[str, ...]


@dataclass(frozen=True)
class LabelTable:
    """A table of tags as it was understood.

    Attributes:
        path: The file, or the folder of a folder per class.
        rows: What it says.
        joined: Whether the labels of several rows of an image add up.
        names: Labels that have a column each, also those that no row marks.
        findings: How it was read, where that is not the documented form.
    """

    path: Path
    rows: tuple[TableRow, ...]
    joined: bool = False
    names: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_table(path: Path) -> LabelTable:
    """Read a table: columns separated by commas, semicolons or tabs, with a header that names the images and their labels.

    Labels stand in one column, or each class has a column of zeros and ones. Other columns are passed over.

    Raises:
        DataError: the header names no images or no labels, or a row has too many or too few columns.
    """
    text = read_text(path)
    first, _, rest = text.partition("\n")
    skipped = 0
    if re.fullmatch(r"sep=.", first.strip()):  # the first line of some spreadsheets
        text, skipped = rest, 1
        first = rest.partition("\n")[0]
    delimiter = _delimiter(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num + skipped, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num + skipped}: expected a CSV table: {error}.") from error
    header = [cell.lower() for cell in lines[0][1]] if lines else []
    rows = [(line, cells) for line, cells in lines[1:] if any(cells)]
    return _understood(path, delimiter, header, lines[0][1] if lines else [], rows)


def class_folders(folder: Path, files: Sequence[str]) -> LabelTable:
    """Take the labels of images from the folders they lie in, one folder a class.

    Args:
        folder: Whose folders are the classes.
        files: Images, as paths below it; those in no folder have unknown tags.
    """
    rows = tuple(TableRow(0, file, (file.split("/")[0],)) for file in files if "/" in file)
    return LabelTable(folder, rows, joined=True)


def labels_in(cell: str) -> tuple[list[str], bool]:
    """Split a cell of labels.

    Returns:
        The labels, and whether something separates them; a cell without ``;``, ``|``, a comma or brackets is one label as it stands.
    """
    inner = re.fullmatch(r"[\[({]\s*(.*?)\s*[\])}]", cell, re.DOTALL)
    text = inner[1] if inner else cell
    if not inner and not SEPARATORS.search(text):
        return ([cell] if cell else []), False
    return [label for part in SEPARATORS.split(text) if (label := part.strip().strip("'\"").strip())], True


def is_missing(label: str) -> bool:
    """Whether a label looks like the mark of a missing value."""
    return label.casefold() in MISSING


def _delimiter(header: str) -> str:
    """Choose what separates the columns: the one under which the header names images and most else."""

    def fits(delimiter: str) -> tuple[bool, bool, int]:
        cells = [cell.strip().strip('"').lower() for cell in header.split(delimiter)]
        return cells[0] in IMAGE_COLUMNS, bool({*cells} & {*IMAGE_COLUMNS}), len(cells)

    return max(DELIMITERS, key=fits)  # of equals the first, the comma


def _understood(path: Path, delimiter: str, header: list[str], written: list[str], rows: list[tuple[int, list[str]]]) -> LabelTable:
    """Find the columns of images and labels, and read the rows."""
    width = len(header)
    image = next((header.index(name) for name in IMAGE_COLUMNS if name in header), None)
    label = next((k for name in LABEL_COLUMNS for k, cell in enumerate(header) if cell == name and k != image), None)
    if image is None or (label is None and width < 2):
        raise _no_header(path, written)
    for line, cells in rows:
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) != width:
            hint = " Separate labels by ;" if len(cells) > width else ""
            raise DataError(f"{path} line {line}: expected {width} columns, got {len(cells)}.{hint}")
    others = [k for k in range(width) if k not in (image, label) and header[k]]
    names: tuple[str, ...] = ()
    if label is not None:
        found = tuple(TableRow(line, cells[image], cells[label]) for line, cells in rows)
        passed_over = [written[k] for k in others]
        joined = header[label] in ONE_A_ROW
        note = "" if tuple(header) == HEADER and delimiter == "," else f"labels in '{written[label]}'"
    else:
        marks = [k for k in others if _is_marks(rows, k)]
        found, joined, names = _marked(path, image, marks, written, rows), False, tuple(written[k] for k in marks)
        passed_over = [written[k] for k in others if k not in marks]
        note = "a column for each class"
    findings = []
    if note:
        apart = {",": "commas", ";": "semicolons", "\t": "tabs"}[delimiter]
        rest = f"; passed over: {some_of(passed_over, 5)}" if passed_over else ""
        findings.append(Finding("note", str(path), f"read as columns separated by {apart}, images in '{written[image]}', {note}{rest}"))
    return LabelTable(path, found, joined, names, tuple(findings))


def _marked(path: Path, image: int, marks: list[int], written: list[str], rows: list[tuple[int, list[str]]]) -> tuple[TableRow, ...]:
    """Read a table with a column for each class."""
    if not marks:
        raise _no_header(path, written)
    return tuple(TableRow(line, cells[image], tuple(written[k] for k in marks if cells[k].lower() in YES)) for line, cells in rows)


def _is_marks(rows: list[tuple[int, list[str]]], column: int) -> bool:
    """Whether a column holds nothing but yes and no, and one of them at least once."""
    values = {cells[column].lower() for _, cells in rows}
    return bool(values - {""}) and values <= YES | NO


def _no_header(path: Path, written: list[str]) -> DataError:
    """Say that the header names no images or no labels."""
    got = ",".join(written)
    return DataError(
        f"{path} line 1: expected the header {','.join(HEADER)}, got {got[:200].lower()!r}. Name the column of images 'image' "
        "and that of labels 'labels', or give each class a column of 0 and 1."
    )
