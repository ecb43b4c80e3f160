"""The formats by name, and which one a path holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from labelseg.errors import DataError
from labelseg.exchange.readers.coco import coco_tags, is_coco, read_coco
from labelseg.exchange.readers.cvat import is_cvat, read_cvat
from labelseg.exchange.readers.cvat_images import cvat_tags, is_cvat_images, read_cvat_images
from labelseg.exchange.readers.incoming import ClassNames, ImageTags, Incoming
from labelseg.exchange.readers.json_files import load_json
from labelseg.exchange.readers.label_studio import is_label_studio, label_studio_tags, read_label_studio
from labelseg.exchange.readers.png import read_png

READERS: dict[str, Callable[[Path, ClassNames], Iterator[Incoming]]] = {
    "png": read_png,
    "cvat": read_cvat,
    "cvat-images": read_cvat_images,
    "coco": read_coco,
    "label-studio": read_label_studio,
}
TAGS: dict[str, Callable[[Path], tuple[list[ImageTags], tuple[str, ...]]]] = {
    "coco": coco_tags,
    "cvat-images": cvat_tags,
    "label-studio": label_studio_tags,
}
CALLED = {
    "png": "a folder of masks",
    "cvat": "masks of CVAT",
    "cvat-images": "annotations of CVAT",
    "coco": "COCO instances",
    "label-studio": "an export of Label Studio",
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
    elif path.is_file() and is_cvat_images(path):
        return "cvat-images"
    elif path.is_dir():
        return "png"
    raise DataError(
        f"{path}: expected a folder of PNG masks, an export of CVAT ('Segmentation mask 1.1', 'CVAT for images 1.1'), or a JSON file of "
        "COCO instances or Label Studio, found none of these. Export it as one of them."
    )
