"""How long work may take that was never done here: figures measured elsewhere, scaled to the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from labelseg.data.folder.images import image_size
from labelseg.errors import LabelsegError
from labelseg.training.params import schedule

if TYPE_CHECKING:
    from labelseg.pipeline.plan.graph import Node
    from labelseg.protocols import Dataset

SIDE = 320  # pixels of the longer side of the photos that the figures are of
BACKBONE = "mobilenet_v2"
# Seconds an image, of a training an image and pass, on two cores: docs/running.md, 1,126 photos to learn from and 222 to segment.
FIGURES: Mapping[str, float] = {
    "train-classifier": 390 / (1126 * 6),
    "cam": 125 / 1126,
    "refine": 179 / 1126,
    "train-affinity": 504 / (1126 * 5),
    "propagate": 267 / 1126,
    "train-segmenter": 1537 / (1126 * 12),
    "segment": 57 / 222,
}


def scaled_seconds(dataset: Dataset, nodes: Iterable[Node], images: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], float]:
    """Scale the figures to the data, for the stages that have one.

    Args:
        dataset: The data.
        nodes: What is to be worked on, with all it reads; a network of another backbone than that of the figures has no estimate,
            nor has what reads it.
        images: Instance and split of each map -> images to compute.

    Returns:
        Instance and split -> seconds.
    """
    nodes = list(nodes)
    factor = (_side(dataset) / SIDE) ** 2
    found: dict[tuple[str, str], float] = {}
    other: set[tuple[str, str]] = set()
    for node in nodes:
        place = (node.id.instance, node.id.split)
        if (node.is_model and getattr(node.params, "backbone", "") != BACKBONE) or any(parent.node in other for parent in node.parents):
            other.add(place)
        elif node.stage.name in FIGURES and factor:
            figure = FIGURES[node.stage.name]
            if not node.is_model:
                found[place] = figure * factor * images.get(place, 0)
            elif node.params.split in dataset.splits():
                length = schedule(node.params, len(dataset.ids(node.params.split)))
                found[place] = figure * length.updates * node.params.batch_size * (node.params.crop / SIDE) ** 2
    return found


def _side(dataset: Dataset, most: int = 9) -> float:
    """The median of the longer sides of some images, pixels; 0 where none can be read."""
    sides = []
    ids = dataset.ids("all")
    for image_id in ids[:: -(-len(ids) // most)] if ids else ():
        try:
            path, scaling = dataset.identity(image_id, "image"), dataset.scaling(image_id)
            path = path[0] if isinstance(path, tuple) else path
            size = scaling.work if scaling else image_size(path) if isinstance(path, Path) else dataset.image(image_id).shape[:2]
            sides.append(max(size))
        except LabelsegError:
            continue
    return float(median(sides)) if sides else 0.0
