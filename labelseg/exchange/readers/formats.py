"""The formats by name, and which one a path holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from labelseg.errors import DataError
from labelseg.exchange.readers.coco import is_coco, read_coco
from labelseg.exchange.readers.cvat import is_cvat, read_cvat
from labelseg.exchange.readers.incoming import ClassNames, Incoming
from labelseg.exchange.readers.json_files import load_json
from labelseg.exchange.readers.label_studio import is_label_studio, read_label_studio
from labelseg.exchange.readers.png import read_png

READERS: dict[str, Callable[[Path, ClassNames], Iterator[Incoming]]] = {
    "png": read_png,
    "cvat": read_cvat,
    "coco": read_coco,
    "label-studio": read_label_studio,
}


def sniff(path: Path) -> str:
    """Tell the format of a folder or a file.

    Raises:
        DataError: it is none of those that are known.
    """
    if path.suffix.lower() == ".json" and path.is_file():
        content = load_json(path)
        if is_coco(content):
            return "coco"
        if is_label_studio(content):
            return "label-studio"
    elif is_cvat(path):
        return "cvat"
    elif path.is_dir():
        return "png"
    raise DataError(
        f"{path}: expected a folder of PNG masks, a zip archive of CVAT ('Segmentation mask 1.1'), or a JSON file of COCO or Label Studio."
    )
