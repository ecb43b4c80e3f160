"""Folders and archives that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelseg.asides.making import aside, clear_asides
from labelseg.errors import UsageError
from labelseg.file_kinds import naming
from labelseg.pipeline.files.atomic import sync_folder, sync_tree

BEGINNING = (1980, 1, 1, 0, 0, 0)  # the time of every file in an archive, so that equal content makes equal bytes


def demand_new(output: Path) -> None:
    """Refuse a place where something is; what killed processes left of the same output goes.

    Raises:
        UsageError: there is a file, or a folder that is not empty.
    """
    clear_asides(output.parent, output.name)
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() or output.is_symlink():
        raise UsageError(
            f"-o {output}: something is there already, and this format is written as a whole. Choose another name, or remove it."
        )


@contextmanager
def published(output: Path, *, archive: bool = False) -> Iterator[Path]:
    """Give an empty folder to write to, which becomes ``output`` at the end; after an error nothing of it is left.

    Args:
        output: The folder, or the file of a zip archive.
        archive: Pack the folder into a zip archive.

    Raises:
        UsageError: something is there already.
    """
    demand_new(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with aside(output, folder=True) as unfinished:
        yield unfinished
        if archive:
            with aside(output) as packed:
                _pack(unfinished, packed)
                os.replace(packed, output)
        else:
            sync_tree(unfinished)
            os.replace(unfinished, output)
    sync_folder(output.parent)


def _pack(folder: Path, path: Path) -> None:
    """Write the files of a folder into a zip archive, in the order of their names."""
    with naming(path), path.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name in sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()):
                entry = zipfile.ZipInfo(name, BEGINNING)
                # Pictures are compressed already.
                entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w") as inner, (folder / name).open("rb") as source:
                    shutil.copyfileobj(source, inner)
        file.flush()
        os.fsync(file.fileno())
