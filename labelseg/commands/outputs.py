"""Folders that results for people are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.errors import UsageError

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


def demand_own_folder(workspace: Workspace, output: Path) -> None:
    """Refuse to write pictures among the images of the data, of which they would become some.

    Raises:
        UsageError: the folder is that of the images or lies below, and not in the folder of masks, which is left out there.
    """
    table, target = workspace.config.data, output.resolve()
    folders = {key: (workspace.root / table[key]).resolve() for key in ("images", "masks") if isinstance(table.get(key), str)}
    if "images" not in folders or not target.is_relative_to(folders["images"]):
        return
    masks = folders.get("masks")
    if masks is None or masks == folders["images"] or not target.is_relative_to(masks):
        raise UsageError(
            f"-o {output}: below the images, {folders['images']}, what is written would count as images. Choose another folder."
        )
