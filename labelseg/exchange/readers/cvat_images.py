"""CVAT "CVAT for images 1.1": ``annotations.xml``, alone or in a zip archive, with polygons, brushes, boxes and tags."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import DataError
from labelseg.exchange.readers.cvat import LARGEST, UNPACKABLE
from labelseg.exchange.readers.incoming import ClassNames, ImageTags, Incoming, demand_size
from labelseg.exchange.shapes.run_lengths import decode_shape
from labelseg.file_kinds import demand_file, read_file

FILE = "annotations.xml"
REGIONS = ("polygon", "mask")
SHAPES = (*REGIONS, "box", "polyline", "points", "ellipse", "cuboid", "tag")


def read_cvat_images(path: Path, names: ClassNames) -> Iterator[Incoming]:
    """Read masks of polygons and brushes; of those that lie over each other the one with the higher z-order counts, then the later one.

    Args:
        path: ``annotations.xml``, or an archive that holds it.
        names: The classes of the data.

    Raises:
        DataError: it is no such file.
    """
    for image in _images(path):
        where = f"{path} image {image.get('name')}"
        yield Incoming(image.get("name", ""), where, _reader(image, names, where))


def cvat_tags(path: Path) -> tuple[list[ImageTags], tuple[str, ...]]:
    """Read the labels of each image, of tags and shapes of all kinds, and all labels that the project has, in its order."""
    root = _root(path)
    listed = [element.text or "" for element in root.iterfind("meta//label/name")]
    found = []
    for image in root.iterfind("image"):
        labels = tuple(dict.fromkeys(shape.get("label", "") for shape in image if shape.tag in SHAPES))
        found.append(ImageTags(image.get("name", ""), f"{path} image {image.get('name')}", labels))
    return found, tuple(dict.fromkeys((*listed, *(label for tags in found for label in tags.labels))))


def is_cvat_images(path: Path) -> bool:
    """Whether a file is such an export."""
    try:
        return _root(path).find("image") is not None
    except DataError:
        return False


def _images(path: Path) -> list[ElementTree.Element]:
    found = list(_root(path).iterfind("image"))
    if not found:
        raise DataError(f"{path}: expected images in it, found none. Export from CVAT as 'CVAT for images 1.1'.")
    return found


def _root(path: Path) -> ElementTree.Element:
    """Parse the file.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        demand_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(FILE) as inner:
                data = inner.read(LARGEST + 1)
            if len(data) > LARGEST:
                raise ValueError(f"it has more than {LARGEST:,} bytes")
        else:
            data = read_file(path)
        root = ElementTree.fromstring(data)
    except (*UNPACKABLE, ElementTree.ParseError) as error:
        raise DataError(
            f"{path}: expected {FILE} of CVAT, found none that can be read: {error}. Export as 'CVAT for images 1.1'."
        ) from error
    if root.tag != "annotations":
        raise DataError(f"{path}: expected {FILE} of CVAT, found XML of <{root.tag}>. Export as 'CVAT for images 1.1'.")
    return root


def _reader(image: ElementTree.Element, names: ClassNames, where: str) -> Any:
    def read(size: tuple[int, int]) -> NDArray[np.uint8]:
        mask = np.full(size, names.blank, np.uint8)
        shapes = [shape for shape in image if shape.tag in REGIONS]
        try:
            demand_size((int(image.get("height", -1)), int(image.get("width", -1))), size, where)
            for shape in sorted(shapes, key=lambda shape: int(shape.get("z_order", 0))):
                mask[_region(shape, size)] = names.id_of(shape.get("label", ""), where)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{where}: {error}. Export it anew as 'CVAT for images 1.1'.") from error
        return mask

    return read


def _region(shape: ElementTree.Element, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Draw a polygon, or the run lengths of a brush, row by row within its box, that begin with what does not belong to it."""
    if shape.tag == "polygon":
        return decode_shape([[float(number) for point in shape.get("points", "").split(";") for number in point.split(",")]], size)
    counts = [int(number) for number in shape.get("rle", "").split(",")]
    left, top, width, height = (int(shape.get(side, -1)) for side in ("left", "top", "width", "height"))
    if min(counts) < 0 or sum(counts) != width * height or min(left, top) < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError("expected run lengths that fill a box in the image")
    region = np.zeros(size, bool)
    region[top : top + height, left : left + width] = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return region
