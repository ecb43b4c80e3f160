"""Folders that results for people are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.errors import UsageError

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
