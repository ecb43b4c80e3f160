"""Folders that results for people are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.errors import UsageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


def demand_own_folder(workspace: Workspace, output: Path) -> None:
    """Refuse to write into the folder of images, where results would count as images, or over the true masks.

    Raises:
        UsageError: the folder is that of the images or of the masks, or below it.
    """
    table, target = workspace.config.data, output.resolve()
    for key, harm in (("masks", "true masks there would be overwritten"), ("images", "what is written there would count as images")):
        if isinstance(table.get(key), str):
            folder = (workspace.root / table[key]).resolve()
            if target.is_relative_to(folder):
                raise UsageError(f"-o {output}: {folder} is the folder of {key} of the data, and {harm}. Choose another folder.")


def refuse_other_classes(output: Path, name: str, classes: tuple[str, ...]) -> None:
    """Refuse a folder in which masks of other classes lie: its class list would be wrong for one or the other.

    Raises:
        UsageError: an id means one class to them, and another one to those that are to be written.
    """
    from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids

    try:
        there = read_file(output / "classes.txt").decode().split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return
    if mixed_ids(there[:-1], classes):
        raise UsageError(
            f"-o {output}: masks of other classes than those of {name} lie there: {mix_text(there[:-1], classes)}. Choose another folder."
        )


def write_classes(output: Path, classes: tuple[str, ...]) -> None:
    """Name the classes of the masks in a folder, one a line; the file appears whole or not at all."""
    write_atomically(output / "classes.txt", "".join(f"{title}\n" for title in classes).encode())
