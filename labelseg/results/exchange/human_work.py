"""Whether what people said and corrected is what was written, and about something there is: answers, marks, imported masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np

from labelseg.answers import answer_files, correction_files, marks
from labelseg.answers.answer_files import read_answers
from labelseg.answers.correction_files import Correction, demand_mask, mask_path, read_corrections
from labelseg.answers.known_answers import Unknown
from labelseg.answers.line_files import SET_ASIDE, BadLine, set_aside
from labelseg.answers.marks import read_marks
from labelseg.class_ids import IGNORE
from labelseg.data.folder.images import read_mask
from labelseg.errors import DataError, LabelsegError
from labelseg.pipeline.instances import stage_of
from labelseg.results.exchange.file_size import upright_size
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.protocols import Dataset
    from labelseg.workspace import Workspace

REPAIR = "Set it aside: labelseg verify --repair"


@dataclass(frozen=True)
class Trouble:
    """Something that people said and that cannot be used.

    Attributes:
        path: The file.
        text: What is wrong, and what mends it.
        line: The line, where one is damaged.
    """

    path: Path
    text: str
    line: BadLine | None = None


def troubles(workspace: Workspace, stage: str | None = None) -> Iterator[Trouble]:
    """Read all that people said back: lines that are cut, changed or about nothing there is, and masks that are not what was kept.

    Args:
        workspace: The workspace.
        stage: Name of the stage whose instances are meant; None means all.
    """
    folders = (answer_files.FOLDER, marks.FOLDER, correction_files.FOLDER)
    if not any(_files(workspace.root, folder, stage) for folder in folders):
        return
    try:
        unknown = Unknown(workspace.dataset, ())
    except LabelsegError as error:
        yield Trouble(workspace.root, f"What people said cannot be compared with the data: {error}")
        return
    for path in _files(workspace.root, answer_files.FOLDER, stage):
        instance = quote(path.stem)
        again = f"Its question is open again: labelseg annotate {instance}"
        yield from _told(path, lambda path=path: read_answers(path, unknown).bad, again)  # type: ignore[misc]
    for path in _files(workspace.root, marks.FOLDER, stage):
        instance = quote(path.stem.partition("~")[0])
        yield from _told(path, lambda path=path: read_marks(path)[1], f"Mark it again: labelseg view {instance}")  # type: ignore[misc]
    for path in _files(workspace.root, correction_files.FOLDER, stage):
        instance = quote(path.stem)
        again = f"Import its mask again: labelseg import-masks PATH --to {instance}"
        yield from _told(path, lambda path=path: read_corrections(path).bad, again)  # type: ignore[misc]
        yield from _masks(workspace, path)


def mend(found: Iterable[Trouble]) -> Iterator[str]:
    """Move damaged lines out of the way, into a file beside their own; say what was done."""
    lines: dict[Path, list[BadLine]] = {}
    for trouble in found:
        if trouble.line is not None and trouble.line.damaged:
            lines.setdefault(trouble.path, []).append(trouble.line)
    for path, bad in lines.items():
        count = set_aside(path, bad, bad[0].expected)
        yield f"{path}: moved {count:,} of its lines to {path.name}{SET_ASIDE}."


def _files(root: Path, folder: str, stage: str | None) -> list[Path]:
    """List the files of lines in a folder, of the instances of a stage or of all."""
    return [path for path in sorted((root / folder).glob("*.jsonl")) if stage in (None, stage_of(path.stem.partition("~")[0]))]


def _told(path: Path, read: Callable[[], tuple[BadLine, ...]], again: str) -> Iterator[Trouble]:
    """Tell of every line of a file that counts as none."""
    try:
        bad = read()
    except DataError as error:
        yield Trouble(path, str(error))
        return
    except OSError as error:
        yield Trouble(path, f"{path} cannot be read: {error.strerror}. See that it can, then try again.")
        return
    for line in bad:
        remedy = REPAIR if line.damaged else "Bring that back to the data, or take the line out"
        yield Trouble(path, f"{line} {again}. {remedy}", line)


def _masks(workspace: Workspace, path: Path) -> Iterator[Trouble]:
    """Look at every mask that counts for an image."""
    try:
        counted = read_corrections(path).current()
    except (DataError, OSError):  # told already
        return
    for line in counted.values():
        try:
            _demand_use(workspace.dataset, workspace.root, line)
        except (LabelsegError, OSError) as error:
            instance, image = quote(path.stem), quote(line.image)
            remedy = f"Or have it count no longer: labelseg import-masks --to {instance} --withdraw {image}"
            yield Trouble(path, f"{path}: the mask of {line.image} cannot be used: {error} {remedy}")


def _demand_use(dataset: Dataset, root: Path, line: Correction) -> None:
    """Refuse a mask that cannot stand for its image.

    Raises:
        DataError: there is no such image, or the mask is gone, damaged, of another size or of classes that the data does not have.
    """
    if not dataset.has(line.image, "image"):
        raise DataError(f"'{line.image}' is no image of the data.")
    path = mask_path(root, str(line.mask))
    demand_mask(path)
    mask = read_mask(path, len(line.classes), upright_size(dataset, line.image))
    for class_id in np.unique(mask[mask != IGNORE]).tolist():
        name = line.classes[class_id]
        if name not in dataset.classes:
            raise DataError(f"'{name}' is no class of the data.{suggestion(name, dataset.classes)}")
