"""Seconds and memory of large photos, with and without a working size: drawn photos of 3 to 48 megapixels, one core, one photo each.

Networks have random weights, one scale and no mirror, so that a cell is a forward pass and what is around it; the stages by default take
several scales and mirrors, in proportion. Seconds are of the processor, which other programs beside do not lengthen as they do the wall's;
memory is the peak above what the process held before.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import select
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.recording import Result
from labelseg.data.scenes.drawing import make_scene
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.networks import to_model
from labelseg.models.segmenter import Segmenter
from labelseg.results.loose_images import LooseImages, Written, write_predictions
from labelseg.stages import STAGES

SIZES = {3: (2000, 1500), 12: (4000, 3000), 24: (6000, 4000), 48: (8000, 6000)}
CLASSES = ("background", *(f"class {k}" for k in range(1, 21)))
PRESENT = (1, 4)
STAGE = {stage.name: stage for stage in STAGES}


def draw(path: Path, megapixels: int) -> None:
    """Write a photo as a camera might: a drawn scene with the noise of a sensor, JPEG of quality 92."""
    picture = Image.fromarray(make_scene(0).image).resize(SIZES[megapixels], Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 6, (512, 512, 3))
    pixels = np.asarray(picture).copy()
    for top in range(0, pixels.shape[0], 512):
        for left in range(0, pixels.shape[1], 512):
            part = pixels[top : top + 512, left : left + 512]
            part[:] = np.clip(part + noise[: part.shape[0], : part.shape[1]], 0, 255)
    Image.fromarray(pixels).save(path, quality=92)


def photo(folder: Path, megapixels: int) -> Path:
    """Have a photo drawn by another process: memory that it left here would be used again, and seem none."""
    path = folder / f"{megapixels}.jpg"
    child = os.fork()
    if child == 0:
        draw(path, megapixels)
        os._exit(0)
    os.waitpid(child, 0)
    return path


def models() -> dict[str, Any]:
    """A classifier and a segmenter of random weights on MobileNetV2, by role."""
    torch.manual_seed(0)
    nets = {
        "classifier": Classifier(build_backbone("mobilenet_v2", 16), len(CLASSES) - 1),
        "segmenter": Segmenter(build_backbone("mobilenet_v2", 16), len(CLASSES), "atrous"),
    }
    made = {}
    for name, net in nets.items():
        tensors, meta = to_model(net.eval(), {"classes": list(CLASSES)})
        made[name] = SimpleNamespace(tensors=tensors, meta=meta)
    return made


def jobs(made: dict[str, Any], folder: Path) -> dict[str, Callable[[Path, int], Any]]:
    """What is measured: name -> function of a file and a working size."""

    def inputs(name: str) -> Any:
        return SimpleNamespace(
            device="cpu",
            devices="cpu",
            classes=CLASSES,
            has_background=True,
            instance="",
            demand_background=lambda: None,
            model=lambda role: made[name],
        )

    def item(path: Path, long_side: int, **sources: Any) -> Any:
        images = LooseImages({"one": path}, CLASSES, long_side)
        return SimpleNamespace(
            id="one",
            tags=PRESENT,
            image=lambda: images.image("one"),
            file_image=lambda: images.at_file_size().image("one"),
            scaling=lambda: images.scaling("one"),
            read=lambda role: sources[role],
        )

    def maps(path: Path, long_side: int) -> dict[str, Any]:
        scaling = LooseImages({"one": path}, CLASSES, long_side).scaling("one")
        width, height = Image.open(path).size
        height, width = scaling.work if scaling else (height, width)
        scores = np.random.default_rng(1).random((len(PRESENT), -(-height // 4), -(-width // 4))).astype(np.float16)
        return {"scores": scores, "class_ids": np.array(PRESENT, np.int16), "size": np.array((height, width), np.int32)}

    cam = STAGE["cam"].run(inputs("classifier"), STAGE["cam"].params(scales=(1.0,), flip=False))
    refine = STAGE["refine"].run(inputs("classifier"), STAGE["refine"].params())
    plain = STAGE["segment"].params(scales=(1.0,), flip=False)
    segment = STAGE["segment"].run(inputs("segmenter"), plain)
    predict = write_predictions(inputs("segmenter"), Written(STAGE["segment"].run, plain, folder / "out"))
    tiles = replace(plain, tile=1024)
    segment_tiled = STAGE["segment"].run(inputs("segmenter"), tiles)
    predict_tiled = write_predictions(inputs("segmenter"), Written(STAGE["segment"].run, tiles, folder / "out"))
    return {
        "decode": lambda path, side: item(path, side).image(),
        "cam": lambda path, side: cam(item(path, side)),
        "refine": lambda path, side: refine(item(path, side, cam=maps(path, side))),
        "segment": lambda path, side: segment(item(path, side)),
        "predict": lambda path, side: predict(item(path, side)),
        "segment --tile 1024": lambda path, side: segment_tiled(item(path, side)),
        "predict --tile 1024": lambda path, side: predict_tiled(item(path, side)),
    }


def status(key: str) -> int:
    """Read a line of the status of this process, bytes."""
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))


def measure(job: Callable[[], Any], limit_s: float, limit_bytes: int) -> dict[str, float | str]:
    """Do a job in a process of its own: seconds of the processor and bytes, or why there are none."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + limit_bytes,) * 2)
            ctypes.CDLL(None).malloc_trim(0)  # else what was freed before would be used again, and seem none
            before = status("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
            started = time.process_time()
            job()
            found: dict[str, float | str] = {"seconds": time.process_time() - started, "bytes": max(status("VmHWM") - before, 0)}
        except (MemoryError, RuntimeError) as error:
            found = {"none": f"over {limit_bytes >> 30} GiB" if "memory" in f"{error!r}".lower() else repr(error)}
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if not select.select([pipe], [], [], limit_s)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"none": f"over {limit_s:g} s"}
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"none": "killed"}


def main() -> None:
    """Measure, and write each cell at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long-side", type=int, default=512)
    parser.add_argument("--limit-s", type=float, default=150)
    parser.add_argument("--limit-gib", type=int, default=6)
    parser.add_argument("--whole-up-to", type=int, default=48, help="megapixels up to which networks see photos at full size")
    parser.add_argument("--only", nargs="+", default=[], metavar="WHAT", help="measure these alone, beside what was measured before")
    parser.add_argument("--megapixels", type=int, nargs="+", default=list(SIZES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = Result("large_photos", "python -m benchmarks.large.photos", 0, long_side=given.long_side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = folder / "small.jpg"
        Image.fromarray(make_scene(0).image).save(small)
        work = jobs(models(), folder)
        for job in work.values():
            job(small, 0)  # what is compiled or loaded at the first call
        paths = {megapixels: photo(folder, megapixels) for megapixels in given.megapixels}
        whole = [label for label in work if "tile" not in label]
        cells = [(size, label, given.long_side) for size in paths for label in whole]
        cells += [
            (size, label, 0) for size in paths for label in work if label not in whole or label == "decode" or size <= given.whole_up_to
        ]
        for megapixels, label, side in cells:
            if given.only and label not in given.only:
                continue
            path, job = paths[megapixels], work[label]
            cell = measure(lambda job=job, path=path, side=side: job(path, side), given.limit_s, given.limit_gib << 30)
            print(megapixels, label, side, cell, flush=True)
            result.values.setdefault("cells", {})
            result.add("cells", label, {**result.values["cells"].get(label, {}), f"{megapixels} MP{', sized' if side else ''}": cell})


if __name__ == "__main__":
    main()
