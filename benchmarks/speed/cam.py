"""Class activation maps against the usual loop: one image, one scale, one mirror at a time; all workers against all workers.

Floor: MobileNetV2 of output stride 16 takes 0.37 G multiply-adds on 224 x 224, so 2.3 G x 7.5 (squared scales) x 2 (mirror) on
375 x 500. Both ways do all of it; what can be saved is passes over memory (normalisation, layouts) and calls.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import against
from labelseg.data.augment.transforms import normalize
from labelseg.data.scenes.drawing import make_scene
from labelseg.inference.predictor import Predictor, resize_image
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.inference_form import for_inference
from labelseg.ops.cam import merge_cams, normalize_cam

SCALES, CLASSES, SIZE = (0.5, 1.0, 1.5, 2.0), [1, 4], (375, 500)
TOLERANCE = 1e-3
_worker: dict[str, Any] = {}


def photo(index: int) -> NDArray[np.uint8]:
    """A scene at the size of a VOC photo."""
    return np.asarray(Image.fromarray(make_scene(index).image).resize(SIZE[::-1], Image.Resampling.BICUBIC))


def network() -> Classifier:
    """A classifier of random weights; every process makes the same."""
    torch.manual_seed(0)
    return Classifier(build_backbone("mobilenet_v2", 16), 20).eval()


def begin() -> None:
    """Set a worker up for both ways."""
    torch.set_num_threads(1)
    net = for_inference(network())
    _worker.update(plain=network(), predictor=Predictor(net, "cpu", forward=net.cam))


def batched(index: int) -> NDArray[np.float32]:
    """The way of the stage: image and mirror in one forward, normalisation folded, 1x1 convolutions by oneDNN, channels last."""
    image = photo(index)
    views = [view[CLASSES] for scaled in _worker["predictor"].multi_scale(image, SCALES, True) for view in scaled]
    return normalize_cam(merge_cams(views, SIZE))


@torch.inference_mode()
def one_by_one(index: int) -> NDArray[np.float32]:
    """The usual loop over scales and mirrors."""
    image, views = photo(index), []
    for scale in SCALES:
        tensor = torch.from_numpy(normalize(resize_image(image, scale)))[None]
        for mirrored in (False, True):
            view = _worker["plain"].cam(tensor.flip(-1) if mirrored else tensor)[0, CLASSES]
            views.append((view.flip(-1) if mirrored else view).numpy())
    return normalize_cam(merge_cams(views, SIZE))


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    workers = os.cpu_count() or 1
    images = range(workers * (2 if quick else 6))
    with multiprocessing.get_context("spawn").Pool(workers, begin) as pool:
        error = max(
            float(np.abs(a - b).max()) for a, b in zip(pool.map(batched, images[:2]), pool.map(one_by_one, images[:2]), strict=True)
        )
        if error > TOLERANCE:
            raise SystemExit(f"cam: the two ways differ by {error:.1e}, more than {TOLERANCE:.0e}.")
        row = against(
            f"CAM of {len(images)} images of 375x500, MobileNetV2, 4 scales and mirror, {workers} workers",
            lambda: pool.map(batched, images, chunksize=1),
            "one image, scale and mirror at a time",
            lambda: pool.map(one_by_one, images, chunksize=1),
            rounds=1 if quick else 3,
            images=len(images),
            error=error,
        )
    return [row]
