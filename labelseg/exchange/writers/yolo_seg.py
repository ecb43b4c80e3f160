"""YOLO segmentation: a text file an image, a polygon a line."""

from __future__ import annotations

import json

from labelseg.class_ids import IGNORE
from labelseg.exchange.shapes.outlines import centre_polygon
from labelseg.exchange.shapes.regions import regions
from labelseg.exchange.writers.samples import Sample, Target, UnknownPixels, write_text


class YoloWriter:
    """Writes ``images/SPLIT/``, ``labels/SPLIT/NAME.txt`` and ``data.yaml``.

    A line is the number of the class, the background left out, and the corners of one connected region as shares of width and height. A
    hole is part of the one polygon; see ``outlines``. Corners are the middles of pixels: turned into whole pixels, as OpenCV is given
    them, they are the outermost pixels of the region.

    Source: the segmentation format of docs.ultralytics.com.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._numbers = {class_id: number for number, class_id in enumerate(target.things)}
        self._unknown = UnknownPixels("yolo-seg", "lie in no polygon, so that they count as background")

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        # The reader finds labels by the last /images/ of a path.
        name = "/".join(f"{part}_" if part == "images" else part for part in sample.id.split("/"))
        sample.picture.save(self._target.folder / "images" / sample.split, name)
        height, width = sample.size
        lines = []
        for region in regions(sample.mask, (0, IGNORE) if self._target.has_background else (IGNORE,)):
            points = [(x + region.left + 0.5, y + region.top + 0.5) for x, y in centre_polygon(region.shape)]
            corners = " ".join(f"{x / width:.8f} {y / height:.8f}" for x, y in points)
            lines.append(f"{self._numbers[region.class_id]} {corners}\n")
        write_text(self._target.folder / "labels" / sample.split / f"{name}.txt", "".join(lines))
        self._unknown.count(sample)

    def finish(self) -> None:
        """Write ``data.yaml``; the program refuses one without ``train`` and ``val``."""
        splits = self._target.splits
        train, val = ("train" if "train" in splits else splits[0]), ("val" if "val" in splits else splits[-1])
        parts = {"train": train, "val": val, **{split: split for split in splits if split not in (train, val)}}
        lines = [f"{name}: {_quoted(f'images/{split}')}" for name, split in parts.items()]
        names = [f"  {number}: {_quoted(self._target.classes[class_id])}" for class_id, number in self._numbers.items()]
        write_text(self._target.folder / "data.yaml", "\n".join([*lines, "names:", *names]) + "\n")

    def losses(self) -> list[str]:
        """Say how many unknown pixels there were, and what stands in for a split that is not there."""
        lines = self._unknown.losses()
        if "val" not in self._target.splits:
            lines.append(f"data.yaml names {self._target.splits[-1]} as val: no split of that name was written. To have one: --split val")
        return lines


def _quoted(text: str) -> str:
    """Quote text for YAML."""
    return json.dumps(text, ensure_ascii=False)
