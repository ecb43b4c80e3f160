"""COCO instances: one annotation for each connected region of a class."""

from __future__ import annotations

import json
from typing import Any

from labelseg.class_ids import IGNORE
from labelseg.exchange.shapes.outlines import corner_polygon
from labelseg.exchange.shapes.regions import Region, regions
from labelseg.exchange.shapes.run_lengths import encode_runs
from labelseg.exchange.writers.samples import JsonList, Sample, Target, UnknownPixels
from labelseg.file_kinds import naming


class CocoFiles:
    """Writes ``annotations/KIND_SPLIT.json`` of each split, and ``images/`` on request.

    Attributes:
        folder: Where the files are.
    """

    def __init__(self, target: Target, kind: str) -> None:
        self._target = target
        self._kind = kind
        self.folder = target.folder / "annotations"
        self.folder.mkdir()
        self._lists = {
            split: {key: JsonList(self.folder / f"{split}.{key}") for key in ("images", "annotations")} for split in target.splits
        }

    def add_image(self, sample: Sample) -> int:
        """Name an image, copy it where that was asked for, and return its number."""
        file = sample.picture.save(self._target.folder / "images", sample.id) if self._target.images else sample.file_name
        images = self._lists[sample.split]["images"]
        number = images.count + 1
        images.add({"id": number, "file_name": file, "height": sample.size[0], "width": sample.size[1]})
        return number

    def add_annotation(self, sample: Sample, annotation: dict[str, Any]) -> None:
        """Append an annotation of an image."""
        self._lists[sample.split]["annotations"].add(annotation)

    def finish(self, categories: list[dict[str, Any]]) -> None:
        """Put the lists of each split into one file."""
        head = {"info": {"description": self._target.name}, "licenses": [], "categories": categories}
        for split, lists in self._lists.items():
            path = self.folder / f"{self._kind}_{split}.json"
            with naming(path), path.open("x", encoding="ascii") as file:
                file.write(json.dumps(head).removesuffix("}"))
                for key, entries in lists.items():
                    file.write(f',\n"{key}": ')
                    entries.pour(file)
                file.write("}\n")


class CocoWriter:
    """Writes ``annotations/instances_SPLIT.json``, and ``images/`` on request.

    Categories are the classes beside the background, under their own ids; where there is no background, these plus one, since some
    readers take a category 0 for none. Polygons hold their holes; see ``outlines``.

    Source: the data format of cocodataset.org, as ``pycocotools`` reads it.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._file = CocoFiles(target, "instances")
        self._unknown = UnknownPixels("coco", "are part of no annotation, so that they count as background")
        self._shift = 0 if target.has_background else 1
        self._regions = 0

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        number = self._file.add_image(sample)
        for region in regions(sample.mask, (0, IGNORE) if self._target.has_background else (IGNORE,)):
            self._regions += 1
            self._file.add_annotation(sample, {"id": self._regions, "image_id": number, **self._annotation(region, sample.size)})
        self._unknown.count(sample)

    def _annotation(self, region: Region, size: tuple[int, int]) -> dict[str, Any]:
        """Describe a region."""
        height, width = region.shape.shape
        if self._target.polygons:
            points = corner_polygon(region.shape)
            shape: Any = [[number for x, y in points for number in (x + region.left, y + region.top)]]
        else:
            shape = encode_runs(region.in_full(size))
        return {
            "category_id": region.class_id + self._shift,
            "segmentation": shape,
            "area": int(region.shape.sum()),
            "bbox": [region.left, region.top, width, height],
            "iscrowd": 0,
        }

    def finish(self) -> None:
        """Put the lists of each split into one file."""
        self._file.finish(
            [{"id": class_id + self._shift, "name": name, "supercategory": ""} for class_id, name in self._target.things.items()]
        )

    def losses(self) -> list[str]:
        """Say how many unknown pixels there were."""
        return self._unknown.losses()
