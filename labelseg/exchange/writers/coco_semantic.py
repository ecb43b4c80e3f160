"""COCO panoptic segmentation whose segments are whole classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from labelseg.class_ids import IGNORE
from labelseg.exchange.writers.coco import CocoFiles
from labelseg.exchange.writers.samples import Sample, Target
from labelseg.file_kinds import naming


class CocoSemanticWriter:
    """Writes ``annotations/panoptic_SPLIT.json`` and ``annotations/panoptic_SPLIT/NAME.png``, and ``images/`` on request.

    A segment is all of a class in an image. Its colour, red + 256 green + 65,536 blue, and its category are the id of the class plus one,
    since 0 means that nothing is known. The background is a category like any other.

    Source: the panoptic format of cocodataset.org.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._file = CocoFiles(target, "panoptic")

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        number = self._file.add_image(sample)
        path = self._file.folder / f"panoptic_{sample.split}" / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colours = np.zeros((*sample.size, 3), np.uint8)
        colours[..., 0] = np.where(sample.mask == IGNORE, 0, sample.mask + 1)
        with naming(path):
            Image.fromarray(colours).save(path, format="PNG")
        segments = [_segment(sample.mask == class_id, class_id) for class_id in np.unique(sample.mask).tolist() if class_id != IGNORE]
        self._file.add_annotation(sample, {"image_id": number, "file_name": f"{sample.id}.png", "segments_info": segments})

    def finish(self) -> None:
        """Put the lists of each split into one file."""
        classes = enumerate(self._target.classes)
        self._file.finish([{"id": class_id + 1, "name": name, "supercategory": "", "isthing": 0} for class_id, name in classes])

    def losses(self) -> list[str]:
        """Say that nothing is lost."""
        return []


def _segment(region: Any, class_id: int) -> dict[str, Any]:
    """Describe the segment of a class."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    return {"id": class_id + 1, "category_id": class_id + 1, "area": int(region.sum()), "bbox": box, "iscrowd": 0}
