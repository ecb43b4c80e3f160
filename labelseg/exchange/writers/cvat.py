"""CVAT "Segmentation mask 1.1": masks in colours, in a zip archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from labelseg.class_ids import BACKGROUND, IGNORE
from labelseg.data.formats.palette import voc_colours
from labelseg.errors import UsageError
from labelseg.exchange.shapes.regions import TOUCHING
from labelseg.exchange.writers.samples import Sample, Target, write_text
from labelseg.file_kinds import naming


class CvatWriter:
    """Writes ``labelmap.txt``, ``SegmentationClass/``, ``SegmentationObject/`` and ``ImageSets/Segmentation/SPLIT.txt``.

    Colours are those of Pascal VOC. Each connected region is an object. Images are none of it: a task of CVAT has them already.

    Source: docs.cvat.ai, "Segmentation mask".
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        for name in target.classes:
            if ":" in name or name.startswith("#"):
                raise UsageError(
                    f"cvat: labelmap.txt cannot hold the class '{name}', with a colon or a # in front. Rename it, or choose another format."
                )
        self._shift = 0 if target.has_background else 1  # black is the background
        self._has_unknown = False
        self._lists = {split: target.folder / "ImageSets/Segmentation" / f"{split}.txt" for split in target.splits}
        for path in self._lists.values():
            write_text(path, "")

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        ids = np.where(sample.mask == IGNORE, IGNORE, sample.mask.astype(np.int64) + self._shift)
        _save(voc_colours(ids), self._target.folder / "SegmentationClass" / f"{sample.id}.png")
        _save(
            voc_colours(_objects(sample.mask, self._target.has_background)), self._target.folder / "SegmentationObject" / f"{sample.id}.png"
        )
        with self._lists[sample.split].open("ab") as file:
            file.write(f"{sample.id}\n".encode("utf-8", "surrogateescape"))
        self._has_unknown |= bool((sample.mask == IGNORE).any())

    def finish(self) -> None:
        """Write the colours of the classes."""
        named = {class_id + self._shift: name for class_id, name in enumerate(self._target.classes)}
        if self._shift:
            named = {0: BACKGROUND, **named}
        if self._has_unknown:
            named[IGNORE] = self._target.ignored
        colours = voc_colours(np.array([*named], np.int64)).tolist()
        lines = [f"{name}:{','.join(map(str, colour))}::\n" for name, colour in zip(named.values(), colours, strict=True)]
        write_text(self._target.folder / "labelmap.txt", "".join(["# label:color_rgb:parts:actions\n", *lines]))

    def losses(self) -> list[str]:
        """Say which label the task needs for unknown pixels."""
        if not self._has_unknown:
            return []
        return [f"Unknown pixels (255) go to CVAT as the label '{self._target.ignored}': the task needs a label of that name."]


def _objects(mask: NDArray[np.uint8], has_background: bool) -> NDArray[np.int64]:
    """Number the connected regions of a mask (H, W) from 1; 0 where there is none."""
    numbers: NDArray[Any] = np.zeros(mask.shape, np.int64)
    for class_id in np.unique(mask).tolist():
        if class_id == 0 and has_background:
            continue
        own, _ = ndimage.label(mask == class_id, structure=TOUCHING)
        numbers = np.where(own > 0, own + numbers.max(), numbers)
    return numbers


def _save(colours: NDArray[np.uint8], path: Path) -> None:
    """Write a picture (H, W, 3) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        Image.fromarray(colours).save(path, format="PNG")
