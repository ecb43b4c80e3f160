"""Where the time of ``propagate`` goes: decode, affinities (network and pairs), walk, upsampling, CRF, write.

One image of VOC size after another in one process with one thread, MobileNetV2 of random weights, one scale: what a worker of the stage
does. Floor of the affinities: 2.3 G multiply-adds of MobileNetV2 at output stride 16 on 375 x 500, and 34 pairs x 448 channels a cell.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.speed.crf import SIZE, photo, readings
from benchmarks.speed.store import fresh_folder
from benchmarks.timing import seconds
from labelseg.data.folder.images import read_image
from labelseg.inference.affinities import affinity_function
from labelseg.models.affinity_net import AffinityNet
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.inference_form import for_inference
from labelseg.ops.affinity.grid import from_grid, to_grid
from labelseg.ops.affinity.pairs import pair_offsets
from labelseg.ops.affinity.random_walk import random_walk
from labelseg.ops.cam import normalize_cam, resize_maps, score_mask
from labelseg.ops.crf.dense_crf import dense_crf
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter, Store

CLASSES, STRIDE, THRESHOLD = 2, 8, 0.6


class Timed:
    """Sums the seconds of named parts."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = defaultdict(float)

    def __call__(self, name: str, job: Any) -> Any:
        result: list[Any] = []
        self.totals[name] += seconds(lambda: result.append(job()))
        return result[0]


def propagate(path: Path, name: str, cam: np.ndarray, tools: tuple[Any, Any, PartWriter], timed: Timed) -> None:
    """Do what the stage does for an image, part by part."""
    affinities_of, offsets, writer = tools
    image = timed("decode", lambda: read_image(path))
    size = image.shape[:2]
    affinities = timed("affinities", lambda: affinities_of(image).affinities)
    walked = timed("walk", lambda: random_walk(to_grid(cam, size, STRIDE), affinities, offsets, beta=8.0, steps=256))
    scores = timed("upsampling", lambda: from_grid(normalize_cam(walked), STRIDE, size, size))
    stack = np.concatenate([np.full((1, *size), THRESHOLD, np.float32), scores])
    mask = timed("mask", lambda: score_mask(stack, list(range(len(stack)))))
    timed("CRF (with --crf)", lambda: dense_crf(image, stack))
    quarter = timed("upsampling", lambda: resize_maps(scores, (-(-size[0] // 4), -(-size[1] // 4))).astype(np.float16))
    timed("write", lambda: writer.add(PartItem(name, name, {"scores": quarter, "mask": mask})))


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    torch.manual_seed(0)
    offsets, count = pair_offsets(5), 4 if quick else 32
    net = for_inference(AffinityNet(build_backbone("mobilenet_v2", 16)).eval())
    affinities_of, _ = affinity_function("learned", net, offsets, device="cpu")
    cam = readings(CLASSES + 1, SIZE)[0][1:, ::4, ::4]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with fresh_folder() as folder:
            path = folder / "photo.jpg"
            Image.fromarray(photo(SIZE)).save(path, quality=90)
            writer = PartWriter(Store(folder), "propagate", {})
            tools, timed = (affinities_of, offsets, writer), Timed()
            propagate(path, "warm", cam, tools, Timed())
            for number in range(count):
                propagate(path, f"{number:04d}", cam, tools, timed)
            timed("write", writer.flush)
    finally:
        torch.set_num_threads(threads)
    total = sum(taken for part, taken in timed.totals.items() if "CRF" not in part)
    return [
        {"name": f"propagate, an image of {SIZE[0]}x{SIZE[1]}: {part}", "ours_s": taken / count, "percent_without_crf": 100 * taken / total}
        for part, taken in timed.totals.items()
    ]
