"""Label Studio: an export as JSON, with brushes, polygons and choices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import DataError
from labelseg.exchange.readers.incoming import ClassNames, ImageTags, Incoming, demand_size
from labelseg.exchange.readers.json_files import load_json
from labelseg.exchange.shapes.brush_rle import decode_brush
from labelseg.exchange.shapes.run_lengths import decode_shape

REGIONS = {"brush": "rle", "polygon": "points"}  # kinds of regions that have pixels -> key of their shape
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # put before the names of uploaded files


def read_label_studio(path: Path, names: ClassNames) -> Iterator[Incoming]:
    """Read an export: the last annotation of each task that somebody submitted; predictions count as nobody's.

    Args:
        path: The file.
        names: The classes of the data.

    Raises:
        DataError: it is no such file.
    """
    for task, last, where in _annotated(path):
        when = last.get("updated_at")
        read = _reader(_results(last), names, where)
        yield Incoming(image_name(task["data"]), where, read, person(last.get("completed_by")), when if isinstance(when, str) else "")


def label_studio_tags(path: Path) -> tuple[list[ImageTags], tuple[str, ...]]:
    """Read the labels of each annotated image, of choices and regions of all kinds, and all labels there are, sorted."""
    found = []
    for task, last, where in _annotated(path):
        labels: list[str] = []
        for result in _results(last):
            value = result.get("value") if isinstance(result, dict) else None
            shown = value.items() if isinstance(value, dict) else ()
            lists = [given for key, given in shown if key == "choices" or key.endswith("labels")]
            labels += [label for given in lists if isinstance(given, list) for label in given if isinstance(label, str)]
        found.append(ImageTags(image_name(task["data"]), where, tuple(dict.fromkeys(labels))))
    return found, tuple(sorted({label for tags in found for label in tags.labels}))


def _annotated(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """List the tasks that somebody submitted, each with its last annotation and the place in the file.

    Raises:
        DataError: it is no such file.
    """
    tasks = load_json(path)
    if not is_label_studio(tasks):
        raise DataError(f"{path}: expected an export of Label Studio, in its format JSON.")
    for position, task in enumerate(tasks):
        annotations = task.get("annotations")
        given = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")] if isinstance(annotations, list) else []
        if given:
            last = max(given, key=lambda annotation: str(annotation.get("updated_at", "")))
            yield task, last, f"{path} task {task.get('id', position)}"


def _results(annotation: dict[str, Any]) -> list[Any]:
    results = annotation.get("result")
    return results if isinstance(results, list) else []


def is_label_studio(content: Any) -> bool:
    """Whether the content of a file is a list of tasks."""
    return isinstance(content, list) and all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content)


def image_name(data: dict[str, Any]) -> str:
    """Find the name of the image: the id that our own tasks keep, else what its address ends in."""
    if isinstance(data.get("labelseg"), str):
        return data["labelseg"]
    address = next((value for key, value in sorted(data.items(), key=lambda pair: pair[0] != "image") if isinstance(value, str)), "")
    path = unquote(address.partition("?d=")[2] or address.partition("?")[0], errors="surrogateescape")
    folders, _, file = path.rpartition("/")
    return UPLOADED.sub("", file) if "/data/upload" in path else f"{folders}/{file}".lstrip("/")


def person(value: Any) -> str:
    """Name who annotated, where the file tells more than a number."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    return str(value) if isinstance(value, str | int) else ""


def _reader(results: list[Any], names: ClassNames, where: str) -> Any:
    def read(size: tuple[int, int]) -> NDArray[np.uint8]:
        mask = np.full(size, names.blank, np.uint8)
        for result in results:
            value = result.get("value") if isinstance(result, dict) else None
            if not isinstance(value, dict):
                continue
            kind = next((kind for kind, key in REGIONS.items() if key in value and f"{kind}labels" in value), "")
            if not kind and "rle" not in value:
                continue
            demand_size((result.get("original_height", -1), result.get("original_width", -1)), size, where)
            labels = value.get(f"{kind}labels")
            if not (isinstance(labels, list) and labels and isinstance(labels[0], str)):
                raise DataError(f"{where}: a {kind or 'brush'} has no label.")
            if kind == "polygon":
                mask[_polygon(value["points"], size, f"{where}: the polygon of '{labels[0]}'")] = names.id_of(labels[0], where)
                continue
            data = value["rle"]
            try:
                if not (isinstance(data, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in data)):
                    raise ValueError("expected a list of bytes")
                region = decode_brush(data, size)
            except ValueError as error:
                raise DataError(f"{where}: the brush of '{labels[0]}': {error}.") from error
            mask[region] = names.id_of(labels[0], where)
        return mask

    return read


def _polygon(points: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Draw a polygon whose corners are given as percent of the width and the height."""
    try:
        return decode_shape([[share * side / 100 for point in points for share, side in zip(point, size[::-1], strict=True)]], size)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected corners as pairs of percent: {error}.") from error
