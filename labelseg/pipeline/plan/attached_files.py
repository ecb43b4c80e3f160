"""Files that other programs wrote, one for each image, as something that a stage reads: where they lie, and their digests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from labelseg.errors import DataError
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.fingerprint import FileDigests
from labelseg.pipeline.plan.data_digests import ABSENT, UNREADABLE

SUFFIXES = (".npy", ".npz", ".zarr", "")  # without one: a node of a zarr group, which is a folder
_NODES = ("zarr.json", ".zarray", ".zgroup")


class AttachedFiles:
    """The files of a folder, found by the ids of images, each digested once.

    Args:
        index: Digests of files.
        root: Folder that relative paths start from.
    """

    def __init__(self, index: FileDigests, root: Path) -> None:
        self._index, self._root = index, root
        self._digests: dict[Path, str] = {}

    def of(self, folder: str, image_id: str) -> Path | None:
        """Find the file of an image: the folder, the id and one of ``SUFFIXES``; the first of them that is there, None without any."""
        if not folder:
            return None
        base = os.path.join(os.path.abspath(self._root / Path(folder).expanduser()), image_id)
        for suffix in SUFFIXES:
            name = base + suffix
            if _is_node(name) if suffix in (".zarr", "") else os.path.isfile(name):
                return Path(name)
        return None

    def digest(self, path: Path | None) -> str:
        """Digest the content of a file, or of all files of a folder; ``absent`` where there is none, ``unreadable`` where it cannot be."""
        if path is None:
            return ABSENT
        if path not in self._digests:
            self._digests[path] = self._of_folder(path) if path.is_dir() else self._of_file(path)
        return self._digests[path]

    def of_all(self, folder: str, image_ids: Iterable[str]) -> str:
        """Digest the files of some images, in their order."""
        return digest("attached", *(text for image_id in image_ids for text in (image_id, self.digest(self.of(folder, image_id)))))

    def _of_file(self, path: Path) -> str:
        try:
            return self._index.digest(path)
        except DataError:
            return UNREADABLE  # the item that reads it fails by itself

    def _of_folder(self, folder: Path) -> str:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return digest("folder", *(text for path in files for text in (path.relative_to(folder).as_posix(), self._of_file(path))))


def _is_node(name: str) -> bool:
    """Whether a folder is an array or a group of zarr."""
    return any(os.path.isfile(os.path.join(name, node)) for node in _NODES)
