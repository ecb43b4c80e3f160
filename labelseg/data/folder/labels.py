"""Class lists and image-level tags as text files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from xml.etree import ElementTree

from labelseg.class_ids import BACKGROUND, IGNORE
from labelseg.data.folder.findings import Finding, Level
from labelseg.data.folder.label_tables import HEADER, LabelTable, TableRow, is_missing, labels_in, read_table
from labelseg.data.folder.text_files import read_text
from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind
from labelseg.suggestions import suggestion
from labelseg.wording import counted, some_of

SEPARATORS = re.compile("[;|]")
TOLD = 8  # names that are no classes, in one message


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
        raise DataError(
            f"{where}: expected 1 to {IGNORE} classes, got {len(classes)}: masks hold an id in a byte, of which {IGNORE} means ignore. "
            "List the classes to learn in a file: --classes FILE"
        )
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


def infer_classes(table: Path | LabelTable) -> tuple[str, ...]:
    """Collect the classes that a label table names: ``background`` first, the others sorted; marks of missing values are no names.

    Spaces separate labels unless some cell holds ``;``, ``|`` or a comma: without a list nothing else tells them from names with spaces.
    """
    table = table if isinstance(table, LabelTable) else read_table(table)
    cells = [row.labels for row in table.rows if isinstance(row.labels, str)]
    names = {*table.names, *(label for row in table.rows if not isinstance(row.labels, str) for label in row.labels)}
    spaced = is_spaced(table)
    for labels, apart in map(labels_in, cells):
        names |= {word for label in labels for word in (label.split() if spaced and not apart else [label])}
    named = {name for name in names if not is_missing(name)}
    return check_classes((BACKGROUND, *sorted(named - {"", BACKGROUND})), str(table.path))


def is_spaced(table: LabelTable) -> bool:
    """Whether spaces separate the labels of a table without a class list."""
    return not any(isinstance(row.labels, str) and labels_in(row.labels)[1] for row in table.rows)


def read_labels(
    table: Path | LabelTable, classes: Sequence[str], findings: list[Finding] | None = None, *, listed: bool = True
) -> list[LabelRow]:
    """Read a label table in one of the forms of :func:`labelseg.data.folder.label_tables.read_table`.

    Labels of a cell are separated by ``;``, ``|``, commas or spaces. Spaces separate only where the whole cell is no class and every word
    is one. An empty cell means that the image is known to hold no class; the name of the background adds nothing. A cell that holds
    nothing but the mark of a missing value is left out, and so are the tags of its image; names that differ from a class in case alone
    are that class.

    Args:
        table: The table, or its file.
        classes: Class names by id.
        findings: Takes what was read in another way than it is written.
        listed: Whether a person listed the classes; else they were taken from the table itself, and what it seems to name may be none.

    Raises:
        DataError: wrong header or number of columns, unknown class; the message names the line.
    """
    table = table if isinstance(table, LabelTable) else read_table(table)
    index = {name: class_id for class_id, name in enumerate(classes)}
    reading = _Reading(index, str(table.path), listed)
    rows = []
    for row in table.rows:
        names = reading.names(row)
        if names is not None and not reading.unknown:
            rows.append(LabelRow(row.image, tuple(sorted({index[name] for name in names} - {index.get(BACKGROUND)})), row.line))
    if reading.unknown:
        raise _no_classes(str(table.path), reading.unknown, tuple(classes))
    if findings is not None:
        findings += [*table.findings, *reading.findings()]
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


class _Reading:
    """Reads cells by a class list, and remembers what was not written as it is read, and the lines of names that are no class."""

    def __init__(self, index: Mapping[str, int], where: str, listed: bool) -> None:
        self.index, self.where, self.listed = index, where, listed
        by_case: dict[str, list[str]] = {}
        for name in index:
            by_case.setdefault(name.casefold(), []).append(name)
        self._by_case = {folded: names[0] for folded, names in by_case.items() if len(names) == 1}
        self.unknown: dict[str, list[int]] = {}
        self._missing: list[tuple[int, str]] = []
        self._commas: list[tuple[int, str]] = []
        self._cases: dict[tuple[str, str], int] = {}

    def names(self, row: TableRow) -> list[str] | None:
        """List the classes that a row names; None where the cell marks a missing value."""
        if isinstance(row.labels, tuple):
            labels = list(row.labels)
        elif row.labels in self.index:
            return [row.labels]
        else:
            labels, apart = labels_in(row.labels)
            if not apart and labels and self._known(labels[0]) is None and not is_missing(labels[0]):
                labels = row.labels.split()
            if apart and ("," in row.labels or row.labels[0] in "[({"):
                self._commas.append((row.line, row.labels))
        if labels and all(is_missing(label) and label not in self.index for label in labels):
            self._missing.append((row.line, str(row.labels)))
            return None
        return [self._class(label, row.line) for label in labels]

    def findings(self) -> list[Finding]:
        """Tell what was read in another way than it is written."""
        found = []
        if self._missing:
            line, cell = self._missing[0]
            found.append(
                Finding(
                    "warning", f"{self.where} line {line}", f"'{cell}' looks like a missing value{_lines(self._missing)}",
                    "the tags of such an image are unknown, and it is not learned from",
                    "Where an image holds no class leave the cell empty; if it is the name of a class, list it: --classes FILE",
                )
            )  # fmt: skip
        if self._commas:
            line, cell = self._commas[0]
            level: Level = "note" if self.listed else "warning"
            what = f"{cell!r} is read as {' and '.join(labels_in(cell)[0])}{_lines(self._commas)}"
            found.append(Finding(level, f"{self.where} line {line}", what))
        if self._cases:
            read = [f"'{written}' as '{name}' (line {line})" for (written, name), line in self._cases.items()]
            found.append(Finding("note", self.where, f"names that differ from classes in case alone are read as these: {some_of(read)}"))
        return found

    def _known(self, label: str) -> str | None:
        return label if label in self.index else self._by_case.get(label.casefold())

    def _class(self, label: str, line: int) -> str:
        name = self._known(label)
        if name is None:
            self.unknown.setdefault(label, []).append(line)
            return label
        if name != label:
            self._cases.setdefault((label, name), line)
        return name


def _lines(found: Sequence[tuple[int, str]]) -> str:
    """Tell how many lines more are alike."""
    return f", and {counted(len(found) - 1, 'line')} more alike" if len(found) > 1 else ""


def _no_classes(where: str, unknown: Mapping[str, Sequence[int]], classes: tuple[str, ...]) -> DataError:
    """Say which names of a table are no classes, all at once, with the first line of each."""
    if len(unknown) == 1:
        ((name, lines),) = unknown.items()
        return _no_class(f"{where} line {lines[0]}" if lines[0] else where, name, classes)
    told = []
    for name, lines in unknown.items():
        near = get_close_matches(name, classes, n=1)
        told.append(f"'{name}' (line {lines[0]}{_more(lines)}{f'; did you mean {near[0]}?' if near else ''})" if lines[0] else f"'{name}'")
    shown = f"{', '.join(told[:TOLD])}{f' and {len(told) - TOLD:,} more' if len(told) > TOLD else ''}"
    return DataError(
        f"{where}: {len(told):,} names are no classes: {shown}. Classes: {some_of(classes)}. "
        "Add them to the list of classes, or correct the table."
    )


def _more(lines: Sequence[int]) -> str:
    return f" and {counted(len(lines) - 1, 'line')} more" if len(lines) > 1 else ""


def _no_class(where: str, name: str, classes: tuple[str, ...]) -> DataError:
    """Say that a label names no class, and which there are."""
    return DataError(f"{where}: '{name}' is no class.{suggestion(name, classes, listed='Classes')}")
