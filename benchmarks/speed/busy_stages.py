"""The stage ``propagate`` and ``predict`` with all workers, alone on the machine and beside a busy process; and threads of torch.

Images of 375 x 500 pixels, maps of one to three classes brought in by ``import-scores``, MobileNetV2 of random weights after one epoch, one
scale and no mirror. Of the stage the seconds are those that it records, of ``predict`` those of the whole command: minimum, median and
maximum of the rounds. Then what a worker does, in one process with as many threads of torch as there are cores in place of one: seconds of
the processor an image, which grow where threads wait for each other, spinning.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.recording import labelseg
from benchmarks.speed.crf import SIZE, photo, readings
from benchmarks.speed.propagate import CLASSES, Timed, propagate
from benchmarks.speed.refine_stage import busy, prepare, stage_seconds
from benchmarks.speed.store import fresh_folder
from labelseg.data.folder.images import read_image
from labelseg.inference.affinities import affinity_function
from labelseg.inference.predictor import Predictor, class_probabilities
from labelseg.models.affinity_net import AffinityNet
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.inference_form import for_inference
from labelseg.models.segmenter import Segmenter
from labelseg.ops.affinity.pairs import pair_offsets
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter, Store

IMAGES, ROUNDS = 60, 3
LEARNED = 8  # images that networks learn from: what they learn does not count
SETTINGS = """
[train-affinity]
split = "few"
weights = "none"
epochs = 1
crop = 128
[train-segmenter]
split = "few"
labels = "refine"
weights = "none"
epochs = 1
crop = 128
[propagate]
cam = "import-scores"
[segment]
scales = [1.0]
flip = false
"""


def train(root: Path) -> None:
    """Make the networks, on a few of the images."""
    (root / "splits").mkdir()
    (root / "splits" / "few.txt").write_text("".join(f"{number:04}\n" for number in range(LEARNED)))
    path = root / "labelseg.toml"
    path.write_text(path.read_text().replace("[data]\n", '[data]\nsplits = "splits"\n') + SETTINGS)
    for stage in ("train-affinity", "train-segmenter"):
        labelseg(root, stage, "--workers", "0", "--device", "cpu")


def predict_seconds(root: Path, workers: int) -> float:
    """Segment all images into a new folder, and tell how long the command took."""
    with tempfile.TemporaryDirectory(prefix="labelseg-predict-") as folder:
        started = time.perf_counter()
        labelseg(root, "predict", str(root / "images"), "-o", f"{folder}/out", "--workers", str(workers), "--device", "cpu", capture=True)
        return time.perf_counter() - started


def processor_seconds(job: Callable[[int], Any], images: int, threads: int) -> float:
    """Do a job for some images with so many threads of torch; seconds of the processor an image."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        job(0)
        started = time.process_time()
        for number in range(1, images + 1):
            job(number)
        return (time.process_time() - started) / images
    finally:
        torch.set_num_threads(before)


def thread_rows(images: int, beside: str) -> list[dict[str, Any]]:
    """Compare one thread of torch with several, of what a worker does for an image of each stage."""
    torch.manual_seed(0)
    several = os.cpu_count() or 1
    offsets = pair_offsets(5)
    affinities_of, _ = affinity_function(
        "learned", for_inference(AffinityNet(build_backbone("mobilenet_v2", 16)).eval()), offsets, device="cpu"
    )
    segmenter = Predictor(for_inference(Segmenter(build_backbone("mobilenet_v2", 16), 21, "deeplabv3plus").eval()), "cpu")
    cam = readings(CLASSES + 1, SIZE)[0][1:, ::4, ::4]
    rows = []
    with fresh_folder() as folder:
        path = folder / "photo.jpg"
        Image.fromarray(photo(SIZE)).save(path, quality=90)
        writer = PartWriter(Store(folder), "propagate", {})

        def predict(number: int) -> None:
            probabilities = class_probabilities(segmenter, read_image(path), (1.0,), False)
            writer.add(PartItem(f"p{number}", f"p{number}", {"mask": probabilities.argmax(axis=0).astype(np.uint8)}))

        jobs = {
            "propagate, with the CRF": lambda number: propagate(path, f"w{number}", cam, (affinities_of, offsets, writer), Timed()),
            "predict": predict,
        }
        for name, job in jobs.items():
            one, more = (processor_seconds(job, images, threads) for threads in (1, several))
            rows.append(
                {
                    "name": f"{name}, seconds of the processor an image in one process, {beside}",
                    "ours_s": one,
                    "opponent": f"{several} threads of torch",
                    "opponent_s": more,
                    "ratio": more / one,
                }
            )
    return rows


def run(quick: bool) -> list[dict[str, Any]]:
    """Time the stages in turn, alone and beside a busy process."""
    images, rounds = (LEARNED, 1) if quick else (IMAGES, ROUNDS)
    workers = os.cpu_count() or 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="labelseg-busy-") as folder:
        root = Path(folder)
        prepare(root, images)
        train(root)
        jobs = {
            "propagate": lambda: stage_seconds(root, "propagate", "timed", workers),
            "predict, the whole command": lambda: predict_seconds(root, workers),
        }
        for beside in (False, True):
            where = "beside a busy process" if beside else "alone"
            times: dict[str, list[float]] = {name: [] for name in jobs}
            with busy(beside):
                for _ in range(rounds):
                    for name, job in jobs.items():
                        times[name].append(job())
                rows += thread_rows(2 if quick else 6, where)
            rows += [
                {
                    "name": f"{name}, {images} images, {workers} workers, {where}",
                    "ours_s": median(found),
                    "ours_least_s": min(found),
                    "ours_most_s": max(found),
                }
                for name, found in times.items()
            ]
    return rows
