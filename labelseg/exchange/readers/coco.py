"""COCO instances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError
from labelseg.exchange.readers.incoming import ClassNames, ImageTags, Incoming, demand_size
from labelseg.exchange.readers.json_files import list_of, load_json
from labelseg.exchange.shapes.run_lengths import decode_shape


def read_coco(path: Path, names: ClassNames) -> Iterator[Incoming]:
    """Read a file of COCO instances; where annotations lie over each other the later one counts, and an image without any is background.

    A crowd is 255, where no single thing lies over it: which of its pixels are of the class is not known.

    Args:
        path: The file.
        names: The classes of the data.

    Raises:
        DataError: it is no such file.
    """
    content = load_json(path)
    images, annotations = list_of(content, "images", str(path)), list_of(content, "annotations", str(path))
    categories = {_number_of(category, path): category.get("name") for category in list_of(content, "categories", str(path))}
    if any("segments_info" in annotation for annotation in annotations):
        raise DataError(f"{path}: expected COCO instances, found panoptic segments. Export instances.")
    own: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        number = annotation.get("image_id")
        own[number if isinstance(number, int | str) else None].append(annotation)
    for position, image in enumerate(images):
        where = f"{path} image {image.get('file_name', position)}"
        number = image.get("id")
        shapes = own[number] if isinstance(number, int | str) else []
        yield Incoming(str(image.get("file_name", "")), where, _reader(image, shapes, categories, names, where))
    for number in _strays(images, own):
        where = f"{path} image {number!r}"
        yield Incoming(f"image {number!r}, of which there are annotations alone", where, _reader({}, own[number], categories, names, where))


def coco_tags(path: Path) -> tuple[list[ImageTags], tuple[str, ...]]:
    """Read the categories of the annotations of each image, crowds among them, and the names of all categories, by their numbers."""
    content = load_json(path)
    listed = sorted(list_of(content, "categories", str(path)), key=lambda category: str(category.get("id")).zfill(12))
    names = {_number_of(category, path): str(category.get("name")) for category in listed}
    held: dict[Any, set[str]] = defaultdict(set)
    for annotation in list_of(content, "annotations", str(path)):
        number, image = annotation.get("category_id"), annotation.get("image_id")
        if not isinstance(number, int | str) or number not in names or not isinstance(image, int | str):
            raise DataError(
                f"{path}: annotation {annotation.get('id')} has the category {number!r}, which the file does not name. Name it."
            )
        held[image].add(names[number])
    found, images = [], list_of(content, "images", str(path))
    for position, image in enumerate(images):
        name, number = str(image.get("file_name", "")), image.get("id")
        labels = held.get(number, set()) if isinstance(number, int | str) else set()
        found.append(ImageTags(name, f"{path} image {name or position}", tuple(n for n in names.values() if n in labels)))
    for number in _strays(images, held):
        name = f"image {number!r}, of which there are annotations alone"
        found.append(ImageTags(name, f"{path} {name}", tuple(n for n in names.values() if n in held[number])))
    return found, tuple(dict.fromkeys(names.values()))


def _strays(images: Sequence[dict[str, Any]], numbers: Iterable[Any]) -> list[Any]:
    """List the numbers of images that annotations name and the file does not list."""
    listed = {image.get("id") for image in images if isinstance(image.get("id"), int | str)}
    return [number for number in numbers if number not in listed]


def _number_of(category: dict[str, Any], path: Path) -> int | str:
    """Return the id of a category.

    Raises:
        DataError: it is none.
    """
    number = category.get("id")
    if not isinstance(number, int | str):
        raise DataError(f"{path}: expected an id of the category {category.get('name')!r}, found {number!r}. Export it anew.")
    return number


def is_coco(content: Any) -> bool:
    """Whether the content of a file is COCO's."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _reader(image: dict[str, Any], shapes: list[dict[str, Any]], categories: dict[Any, Any], names: ClassNames, where: str) -> Any:
    def read(size: tuple[int, int]) -> NDArray[np.uint8]:
        demand_size((image.get("height", -1), image.get("width", -1)), size, where)
        mask = np.full(size, names.blank, np.uint8)
        for annotation in sorted(shapes, key=lambda one: not one.get("iscrowd")):  # crowds below all single things
            number = annotation.get("category_id")
            name = categories.get(number) if isinstance(number, int | str) else None
            if not isinstance(name, str):
                raise DataError(f"{where}: annotation {annotation.get('id')} has the category {number!r}, which the file does not name.")
            try:
                region = decode_shape(annotation.get("segmentation"), size)
            except ValueError as error:
                raise DataError(f"{where}: annotation {annotation.get('id')}: {error}.") from error
            class_id = names.id_of(name, where)
            mask[region] = IGNORE if annotation.get("iscrowd") and name not in names.others else class_id
        return mask

    return read
