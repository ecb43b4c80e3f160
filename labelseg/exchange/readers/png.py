"""A folder of masks as PNG, of class ids in a palette or in grey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.data.folder.image_ids import scan_files
from labelseg.data.folder.images import UNREADABLE, opened, read_mask
from labelseg.data.folder.labels import read_classes
from labelseg.data.folder.mask_names import MASK_SUFFIXES
from labelseg.data.formats.palette import voc_palette
from labelseg.errors import DataError
from labelseg.exchange.readers.incoming import ClassNames, Incoming

CLASSES = "classes.txt"


def read_png(path: Path, names: ClassNames) -> Iterator[Incoming]:
    """Read the masks of a folder, those of folders in it too; ``classes.txt`` there says what ids mean, else they are those of the data.

    Args:
        path: The folder.
        names: The classes of the data.

    Raises:
        DataError: it is no folder, holds no mask, or its list of classes cannot be read.
    """
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder of masks, found a file.")
    listed = path / CLASSES
    ids = dict(enumerate(read_classes(listed) if listed.is_file() else names.classes))
    files = scan_files(path, MASK_SUFFIXES)
    if not files:
        raise DataError(f"{path}: expected masks ({', '.join(sorted(MASK_SUFFIXES))}), found none.")
    for file in files:
        yield Incoming(str(Path(file).with_suffix("")), str(path / file), _reader(path / file, ids, names))


def _reader(path: Path, ids: dict[int, str], names: ClassNames) -> Any:
    def read(size: tuple[int, int]) -> NDArray[np.uint8]:
        mask = read_mask(path, len(ids), size)
        _refuse_other_palette(path, len(ids))
        return names.translated(mask, ids, str(path))

    return read


def _refuse_other_palette(path: Path, count: int) -> None:
    """Refuse a mask whose palette another program put in another order: its ids would be other classes than its colours show.

    Raises:
        DataError: a value has the colour of another class.
    """
    try:
        with opened(path) as image:
            if image.mode != "P":
                return
            colours = np.reshape(image.getpalette("RGB") or [], (-1, 3)).tolist()
            used = np.unique(np.asarray(image)).tolist()
    except UNREADABLE:
        return  # it was read a moment ago
    ours = {tuple(colour): number for number, colour in enumerate(voc_palette().tolist()[:count])}
    for value in used:
        meant = ours.get(tuple(colours[value])) if value < len(colours) else None
        if meant not in (None, value) and (value >= count or colours[value] != voc_palette()[value].tolist()):
            raise DataError(
                f"{path}: the palette was put in another order: value {value} has the colour of class {meant}. "
                "Save it as a grey image of class ids, or with the palette that it came with."
            )
