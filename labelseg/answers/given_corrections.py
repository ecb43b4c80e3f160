"""Imported masks as something that a stage reads: which there are, and their digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labelseg.answers.correction_files import Correction, corrections_path, mask_path, read_corrections
from labelseg.pipeline.files.digests import canonical_json, digest


@dataclass(frozen=True)
class MaskFile:
    """A mask that was imported for an image.

    Attributes:
        path: Its file, named by the digest of its bytes.
        classes: Names of the ids in it.
    """

    path: Path
    classes: tuple[str, ...]


class GivenCorrections:
    """The masks that count, each file of lines read once.

    Args:
        root: Folder of the workspace.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Mapping[str, Correction]] = {}

    def of(self, instance: str, image_id: str) -> MaskFile | None:
        """Find the mask of an image; None where none was imported."""
        line = self._lines(instance).get(image_id)
        return None if line is None or line.mask is None else MaskFile(mask_path(self._root, line.mask), line.classes)

    def digest(self, instance: str, image_ids: Iterable[str]) -> str:
        """Digest the masks of some images, in their order."""
        lines = [(image_id, self._lines(instance).get(image_id)) for image_id in image_ids]
        there = [[image_id, line.mask, list(line.classes)] for image_id, line in lines if line is not None]
        return digest("corrections", canonical_json(there))

    def _lines(self, instance: str) -> Mapping[str, Correction]:
        if instance not in self._files:
            self._files[instance] = read_corrections(corrections_path(self._root, instance)).current()
        return self._files[instance]
