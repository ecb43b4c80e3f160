"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labelseg.exchange.writers.coco import CocoWriter
from labelseg.exchange.writers.coco_semantic import CocoSemanticWriter
from labelseg.exchange.writers.cvat import CvatWriter
from labelseg.exchange.writers.fiftyone import FiftyOneWriter
from labelseg.exchange.writers.huggingface import HuggingFaceWriter
from labelseg.exchange.writers.label_studio import LabelStudioWriter
from labelseg.exchange.writers.mmseg import MmsegWriter
from labelseg.exchange.writers.samples import Target, Writer
from labelseg.exchange.writers.yolo_seg import YoloWriter


@dataclass(frozen=True)
class Format:
    """A format that masks are written in.

    Attributes:
        open: Makes its writer.
        archive: Whether it is one zip file, and not a folder.
        one_suffix: Whether all images must have one suffix.
        polygons: Whether it has polygons as a choice.
        images: ``always`` copied, ``never``, or on ``request``.
    """

    open: Callable[[Target], Writer]
    archive: bool = False
    one_suffix: bool = False
    polygons: bool = False
    images: str = "always"


FORMATS = {
    "coco": Format(CocoWriter, polygons=True, images="request"),
    "coco-semantic": Format(CocoSemanticWriter, images="request"),
    "yolo-seg": Format(YoloWriter),
    "cvat": Format(CvatWriter, archive=True, images="never"),
    "label-studio": Format(LabelStudioWriter),
    "mmseg": Format(MmsegWriter, one_suffix=True),
    "fiftyone": Format(FiftyOneWriter),
    "huggingface": Format(HuggingFaceWriter),
}
