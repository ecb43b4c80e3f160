"""What the training loop adds to the bare step: batches from files against forward, backward and update on one batch in memory.

A segmenter of MobileNetV2, batches of 8 crops of 256 from JPEGs of VOC size, bfloat16, loading in a thread. The bar is an overhead of 5 %.
Floor: an update takes what its convolutions take; decoding and augmenting 8 images takes some 0.1 s of the other core meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.random import Generator
from PIL import Image
from torch import Tensor, nn

from benchmarks.speed.crf import SIZE, photo
from benchmarks.speed.store import fresh_folder
from benchmarks.timing import seconds
from labelseg.data.folder.images import read_image
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.segmenter import Segmenter
from labelseg.ops.losses import cross_entropy
from labelseg.training.loop import TrainTask, train
from labelseg.training.optimization import Optimization, even_groups
from labelseg.training.samples import MaskedImage, Sample

IMAGES, BATCH, CROP, CLASSES, WARM = 16, 8, 256, 7, 2


@dataclass(frozen=True)
class FileItem:
    """As much of an item as a sample needs."""

    path: Path

    def image(self) -> np.ndarray:
        return read_image(self.path)


@dataclass(frozen=True)
class Files:
    """Crops of photos with masks of noise."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, index: int, rng: Generator) -> Sample:
        make = MaskedImage(CROP, (0.75, 1.5), 0.3, lambda item: np.full(SIZE, 1, np.uint8))
        return make(FileItem(self.paths[index]), rng)  # type: ignore[arg-type]


def network() -> Segmenter:
    """The network both train."""
    torch.manual_seed(0)
    return Segmenter(build_backbone("mobilenet_v2", 16), CLASSES, width=128)


def loss(module: nn.Module, batch: Any) -> Mapping[str, Tensor]:
    """Cross-entropy."""
    return {"loss": cross_entropy(module(batch[0]).float(), batch[1])}


@contextmanager
def photos() -> Iterator[Files]:
    """Write JPEGs."""
    with fresh_folder() as folder:
        paths = tuple(folder / f"{number}.jpg" for number in range(IMAGES))
        for path in paths:
            Image.fromarray(photo(SIZE)).save(path, quality=90)
        yield Files(paths)


def our_loop(files: Files, updates: int) -> float:
    """Seconds of updates by the loop, the first ones left out."""
    net = network()
    marks: list[float] = []

    def marked(module: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        marks.append(time.perf_counter())
        return loss(module, batch)

    task = TrainTask(
        module=net,
        loss=marked,
        dataset=files,
        groups=even_groups(net, 1e-4),
        optimization=Optimization(lr=0.001),
        batch_size=BATCH,
        iterations=WARM + updates + 1,
        precision="bf16-mixed",
        channels_last=True,
    )
    train(task)
    return marks[WARM + updates] - marks[WARM]


def bare_steps(files: Files, updates: int) -> float:
    """Seconds of as many updates on one batch."""
    net = network()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    optimization = Optimization(lr=0.001)
    module, optimizer = fabric.setup(net, optimization.build(even_groups(net, 1e-4)))
    samples = [files.sample(k, np.random.default_rng(k)) for k in range(BATCH)]
    batch = [torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True)]
    module.train()

    def step() -> None:
        optimizer.zero_grad()
        fabric.backward(loss(module, batch)["loss"])
        optimizer.step()

    for _ in range(WARM):
        step()

    def steps() -> None:
        for _ in range(updates):
            step()

    return seconds(steps)


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure, in turn: the machine's speed drifts."""
    updates, rounds = (12, 1) if quick else (20, 3)
    with photos() as files:
        pairs = [(our_loop(files, updates), bare_steps(files, updates)) for _ in range(rounds)]
    ours, bare = (float(np.median(times)) / updates for times in zip(*pairs, strict=True))
    return [
        {
            "name": f"training: update of MobileNetV2, {BATCH} crops of {CROP}",
            "ours_s": ours,
            "opponent": "bare step on one batch in memory",
            "opponent_s": bare,
            "ratio": bare / ours,
            "overhead_percent": 100 * (ours / bare - 1),
        }
    ]
