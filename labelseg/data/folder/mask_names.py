"""Names of masks: the file of each image's mask, and the endings by which the two may differ."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from labelseg.data.folder.image_ids import ImageIndex, composed, scan_files
from labelseg.errors import DataError

MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Endings:
    """What the names of images and masks end in, before the extension, where the two differ.

    Attributes:
        image: Ending that an image may have, such as ``_leftImg8bit``.
        mask: Ending of each mask, such as ``_gtFine_labelIds``; files of other endings are no masks.
    """

    image: str = ""
    mask: str = ""

    def mask_of(self, stem: str) -> str:
        """What the mask of an image is called, its ending left out."""
        return stem.removesuffix(self.image)


def fitting_endings(images: Iterable[str], masks: Iterable[str]) -> Endings | None:
    """Find the endings by which the names of masks are those of images; None where fewer than half of the masks fit by any.

    An ending begins with ``_``, ``-`` or ``.``. That of the images is one that at least half of them have.

    Args:
        images, masks: Paths without extension.
    """
    bare = [composed(name.rpartition("/")[2]) for name in images]
    stems = [composed(name.rpartition("/")[2]) for name in masks]
    held = Counter(stem[at:] for stem in bare for at in _joints(stem))
    shared = [ending for ending, count in held.items() if 2 * count >= len(bare)]
    fits: Counter[Endings] = Counter()
    for ending in ("", *shared):
        bases = {stem.removesuffix(ending) for stem in bare}
        # Without any ending the names would be the same, which they are not.
        cuts = ((stem, at) for stem in stems for at in (*_joints(stem), *([len(stem)] if ending else [])))
        fits.update(Endings(ending, stem[at:]) for stem, at in cuts if stem[:at] in bases)
    best, count = fits.most_common(1)[0] if fits else (Endings(), 0)
    return best if count and 2 * count >= len(stems) else None


def _joints(stem: str) -> list[int]:
    """List where an ending of a name may begin."""
    return [at for at, letter in enumerate(stem) if letter in "_-."]


class MaskIndex:
    """The masks of a folder by the id of their image.

    Args:
        folder: Where the masks are.
        images: The images.
        endings: Of their names, where those of a mask and of its image differ.
    """

    def __init__(self, folder: Path, images: ImageIndex, endings: Endings = Endings()) -> None:
        self.folder = folder
        self._images = images
        self._endings = endings

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: expected a folder of masks, found none. Set masks under [data] in labelseg.toml.")
        by_stem: dict[str, str] = {}
        for file in scan_files(self.folder, MASK_SUFFIXES):
            stem = composed(os.path.splitext(file)[0])
            if not stem.endswith(self._endings.mask):
                continue
            stem = stem.removesuffix(self._endings.mask)
            if stem in by_stem:
                raise DataError(f"{self.folder}: {by_stem[stem]} and {file} are masks of one image. Keep one.")
            by_stem[stem] = file
        return by_stem

    @cached_property
    def _by_bare_stem(self) -> dict[str, list[str]]:
        by_bare_stem: dict[str, list[str]] = defaultdict(list)
        for stem, file in self._by_stem.items():
            by_bare_stem[stem.rpartition("/")[2]].append(file)
        return dict(by_bare_stem)

    @property
    def files(self) -> list[str]:
        """Relative paths of all masks, those of another ending left out."""
        return list(self._by_stem.values())

    def path(self, image_id: str) -> Path | None:
        """Return the mask of an image: at the same relative path, or with the same bare stem where that is unique in both folders."""
        file = self._by_stem.get(self._endings.mask_of(composed(image_id)))
        if file is None:
            bare = self._images.bare_stem(image_id)
            matches = self._by_bare_stem.get(self._endings.mask_of(bare), []) if bare else []
            file = matches[0] if len(matches) == 1 else None
        return None if file is None else self.folder / file
