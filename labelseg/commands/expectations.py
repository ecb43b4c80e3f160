"""What work will cost: seconds where it was never done here, by figures measured elsewhere; bytes and files by what lies here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, inf, prod
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from labelseg.data.dataset import image_file
from labelseg.data.folder.images import image_size
from labelseg.errors import ArtifactError, LabelsegError
from labelseg.pipeline.engines.engine import chunk_sizes, share_out
from labelseg.pipeline.engines.worker import FLUSH_SECONDS
from labelseg.pipeline.files.leaves import LEAF_ROWS
from labelseg.pipeline.files.paths import size_of
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.store.headers import PartHeader, part_path
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.store import PART_BYTES, PART_ITEMS
from labelseg.training.params import schedule

if TYPE_CHECKING:
    from labelseg.pipeline.plan.graph import Node
    from labelseg.pipeline.store.manifests import Catalog, Manifest
    from labelseg.protocols import Dataset

SIDE = 320  # pixels of the longer side of the photos that the figures are of
BACKBONE = "mobilenet_v2"
CORES = 2  # that the figures are of
MOST_PARTS = 50  # that are measured; more would tell the same
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


def scaled_seconds(
    dataset: Dataset, nodes: Iterable[Node], images: Mapping[tuple[str, str], int], workers: int | None = None
) -> dict[tuple[str, str], float]:
    """Scale the figures to the data, for the stages that have one.

    Args:
        dataset: The data.
        nodes: What is to be worked on, with all it reads; a network of another backbone than that of the figures has no estimate,
            nor has what reads it.
        images: Instance and split of each map -> images to compute.
        workers: Processes asked for, as of ``share_out``.

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
                count = images.get(place, 0)
                found[place] = figure * factor * count * CORES / max(share_out(count, "cpu", workers), 1)
            elif node.params.split in dataset.splits():
                length = schedule(node.params, len(dataset.ids(node.params.split)))
                found[place] = figure * length.updates * node.params.batch_size * (node.params.crop / SIDE) ** 2
    return found


@dataclass(frozen=True)
class Space:
    """What a result takes on disk: bytes, and files."""

    bytes: float
    files: int


def expected_space(
    catalog: Catalog, images: Mapping[tuple[str, str], int], workers: int | None = None, paces: Mapping[str, float] | None = None
) -> dict[tuple[str, str], Space]:
    """Scale what maps take on disk now, as far as that can be told, to what will be computed.

    Args:
        catalog: Manifests and refs; the figures come from the largest result of the same instance, or else of the same stage.
        images: Instance and split of each map -> images to compute.
        workers: Processes asked for, as of ``share_out``.
        paces: Instance -> seconds an image, where that is known: slow ones are written in smaller parts.

    Returns:
        Instance and split -> parts and the lines of a manifest of so many images; nothing for what has no result to measure.
    """
    refs = sorted((ref for ref in catalog.refs() if ref.split and ref.count), key=lambda ref: ref.count)
    found: dict[tuple[str, str], Space] = {}
    for (instance, split), count in images.items():
        same = [ref for ref in refs if ref.instance == instance] or [ref for ref in refs if ref.stage == stage_of(instance)]
        manifest = catalog.sound(same[-1].stage, same[-1].key) if same and count else None
        if manifest is not None and manifest.parts:
            processes = share_out(count, "cpu", workers)
            with suppress(ArtifactError):  # what is damaged is told where it is read
                found[instance, split] = _scaled_space(catalog, manifest, count, processes, (paces or {}).get(instance, 0.0))
    return found


def _scaled_space(catalog: Catalog, manifest: Manifest, images: int, processes: int, seconds: float) -> Space:
    """Scale what some parts of a map and its manifest take to a number of images."""
    names = manifest.parts[:: -(-len(manifest.parts) // MOST_PARTS)]
    paths = [part_path(catalog.root, manifest.stage, part) for part in names]
    items = [item for path in paths for item in PartHeader.read(path).items]
    files = [path for part in paths for path in part.rglob("*") if path.is_file()]
    leaves = [manifest.items.path(leaf) for leaf in manifest.items.leaves] if isinstance(manifest.items, LeafItems) else []
    line = sum(map(size_of, [catalog.manifest_path(manifest.stage, manifest.key), *leaves])) / len(manifest.items)
    loaded = sum(np.dtype(a.dtype).itemsize * prod(a.shape) for item in items for a in item.arrays.values()) / len(items)
    records = 1 + (ceil(images / LEAF_ROWS) if images > LEAF_ROWS else 0)
    written = expected_parts(images, processes, loaded, seconds) * ceil(len(files) / len(paths))
    return Space(images * (sum(map(size_of, files)) / len(items) + line), written + records)


def expected_parts(images: int, processes: int, item_bytes: float, seconds: float = 0.0) -> int:
    """Count the parts that a map of so many images is written in.

    Args:
        images: To compute.
        processes: Of the run; 0 is the caller alone.
        item_bytes: Of the arrays of an item, not compressed.
        seconds: From an image to the next, of all processes together; 0 where nobody knows.
    """
    a_minute = FLUSH_SECONDS / (seconds * max(processes, 1)) if seconds else inf
    most = max(1, int(min(PART_ITEMS, PART_BYTES / max(item_bytes, 1), a_minute)))
    return sum(ceil(size / most) for size in chunk_sizes(images, processes))


def _side(dataset: Dataset, most: int = 9) -> float:
    """The median of the longer sides of some images, pixels; 0 where none can be read."""
    sides = []
    ids = dataset.ids("all")
    for image_id in ids[:: -(-len(ids) // most)] if ids else ():
        try:
            path, scaling = image_file(dataset, image_id), dataset.scaling(image_id)
            size = scaling.work if scaling else image_size(path) if path is not None else dataset.image(image_id).shape[:2]
            sides.append(max(size))
        except LabelsegError:
            continue
    return float(median(sides)) if sides else 0.0
