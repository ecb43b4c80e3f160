"""Ways to better class activation maps that were tried: ReCAM, two views, LPCAM, beside as many more updates of the classifier.

Run: ``python -m benchmarks.trials.maps --finished WORKSPACE``, a workspace of ``benchmarks.voc_animals`` in which ``train-classifier``
is done; nothing in it is changed. Every way gives maps alone and in the mean with prototype maps of the image, as ``cam --kind mean``
does. The threshold of maps and the background exponent of the CRF are those with the best mIoU on the 50 tuning masks, for each
way alike; a way that gains a point there is scored once on ``train_fine``. What is measured already is not measured again. The result
is written to ``benchmarks/results/trials_maps-seed<seed>.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.recording import SETTINGS, Result
from benchmarks.trials.prototypes import SAMPLES, Prototypes, find_prototypes
from benchmarks.trials.trainings import WAYS, train_further
from labelseg.inference.predictor import Predictor
from labelseg.models.classifier import Classifier
from labelseg.models.networks import load_network
from labelseg.ops.cam import merge_cams, normalize_cam, resize_maps, score_mask, with_background
from labelseg.ops.crf.dense_crf import Bilateral, Gaussian, dense_crf_pair
from labelseg.ops.metrics import ConfusionMatrix, ThresholdSweep
from labelseg.ops.prototypes import prototype_maps
from labelseg.pipeline.engines.progress import show_progress
from labelseg.workspace import Workspace

SCALES, PROTOTYPE_SCALE, PRECISION = (0.5, 1.0, 1.5, 2.0), 1.5, "bf16-mixed"
THRESHOLDS = [round(0.05 * k, 2) for k in range(2, 18)]
ALPHAS = (0.3, 0.5, 0.7, 1.0, 1.5)
BASE = "the classifier"
WORTH = 0.01  # what a way gains on the tuning masks in the least, to be scored once on train_fine
GAUSSIAN, BILATERAL = Gaussian(3.0, 3.0), Bilateral(50.0, 5.0, 10.0)

Maps = NDArray[np.float32]
MapsOf = Callable[[NDArray[np.uint8], NDArray[np.int16]], dict[str, Maps]]


def maps_of(net: Classifier, weights: torch.Tensor) -> MapsOf:
    """Maps of the classes of an image, (C, h, w) each, at a quarter of its sides: alone, and in the mean with prototype maps.

    Args:
        net: A classifier.
        weights: (K, D), what makes maps of its last features.
    """

    def activations(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(net.backbone(x)[-1], weights[..., None, None].to(x.dtype)).relu()

    predictor = Predictor(net, "cpu", PRECISION, forward=activations)
    looker = Predictor(net, "cpu", PRECISION, forward=net.features)

    def compute(image: NDArray[np.uint8], ids: NDArray[np.int16]) -> dict[str, Maps]:
        size = (-(-image.shape[0] // 4), -(-image.shape[1] // 4))
        views = [view[ids - 1] for scaled in predictor.multi_scale(image, SCALES, flip=True) for view in scaled]
        alone = normalize_cam(merge_cams(views, size))
        return {"alone": alone, "mean": (alone + alike(looker, image, alone)) / 2}

    return compute


def alike(looker: Predictor, image: NDArray[np.uint8], maps: Maps) -> Maps:
    """Prototype maps of the image by features and maps, at the size of these."""
    features = looker.views(image, PROTOTYPE_SCALE, flip=True).mean(axis=0)
    return normalize_cam(resize_maps(prototype_maps(features, resize_maps(maps, features.shape[1:])), maps.shape[1:]))


def lpcam(workspace: Workspace, net: Classifier, seed: int) -> MapsOf:
    """Maps from prototypes of the whole training split."""
    taps = Predictor(net, "cpu", PRECISION, forward=lambda x: net.backbone(x)[-1])
    rng, places = np.random.default_rng(seed), dict[int, list[NDArray[np.float32]]]()
    ids = list(workspace.dataset.ids("train"))
    for image_id in ids:
        features = taps.views(workspace.dataset.image(image_id))[0]
        rows = features.reshape(len(features), -1).T
        for class_id in workspace.dataset.tags(image_id) or ():
            places.setdefault(class_id - 1, []).append(rows[rng.permutation(len(rows))[:60]])
    drawn = {class_id: np.concatenate(rows) for class_id, rows in places.items()}
    drawn = {class_id: rows[rng.permutation(len(rows))[:SAMPLES]] for class_id, rows in drawn.items()}
    found: Mapping[int, Prototypes] = find_prototypes(drawn, lambda rows: net.classify(rows[:, :, None, None])[:, :, 0, 0], seed)
    looker = Predictor(net, "cpu", PRECISION, forward=net.features)
    plain = maps_of(net, net.classify.weight[:, :, 0, 0])

    def compute(image: NDArray[np.uint8], ids: NDArray[np.int16]) -> dict[str, Maps]:
        size = (-(-image.shape[0] // 4), -(-image.shape[1] // 4))
        views = []
        for scale in SCALES:
            for view in taps.views(image, scale, flip=True):
                views.append(np.stack([found[int(k) - 1].likeness(view) for k in ids]) if len(ids) else np.zeros((0, *view.shape[1:])))
        alone = normalize_cam(merge_cams(views, size))
        classifier = plain(image, ids)["alone"]
        return {
            "alone": alone,
            "mean": (alone + alike(looker, image, alone)) / 2,
            "with the classifier's": (alone + classifier + alike(looker, image, classifier)) / 3,
        }

    return compute


def refined(image: NDArray[np.uint8], maps: Maps, ids: NDArray[np.int16], alphas: tuple[float, ...]) -> list[NDArray[np.uint8]]:
    """Masks of the CRF on maps, one for each background exponent."""
    scores = resize_maps(maps, image.shape[:2])
    stacks = [with_background(scores, alpha) for alpha in alphas]
    labels = np.concatenate([[0], ids])
    results = dense_crf_pair(image, stacks, iterations=10, gaussian=GAUSSIAN, bilateral=BILATERAL)
    return [score_mask(result, labels) for result in results]


def score(workspace: Workspace, compute: MapsOf, split: str, chosen: Mapping[str, tuple[float, float]] | None) -> dict[str, Any]:
    """Score every kind of maps on a split: with what was chosen, or with the best of the grids."""
    names = len(workspace.dataset.classes)
    sweeps: dict[str, ThresholdSweep] = {}
    masks: dict[str, list[ConfusionMatrix]] = {}
    ids = list(workspace.dataset.ids(split))
    with show_progress(len(ids), split) as progress:
        for image_id in ids:
            image, truth = workspace.dataset.image(image_id), workspace.dataset.mask(image_id)
            classes = np.array(workspace.dataset.tags(image_id) or (), np.int16)
            for kind, maps in compute(image, classes).items():
                thresholds = [chosen[kind][0]] if chosen else THRESHOLDS
                alphas = (chosen[kind][1],) if chosen else ALPHAS
                sweeps.setdefault(kind, ThresholdSweep(names, thresholds)).update(resize_maps(maps, truth.shape), classes, truth)
                matrices = masks.setdefault(kind, [ConfusionMatrix(names) for _ in alphas])
                for matrix, mask in zip(matrices, refined(image, maps, classes, alphas), strict=True):
                    matrix.update(truth, mask)
            progress.update(1)
    rows = {}
    for kind, sweep in sweeps.items():
        threshold, best = sweep.best()
        alphas = (chosen[kind][1],) if chosen else ALPHAS
        place = max(range(len(alphas)), key=lambda k: masks[kind][k].miou())
        rows[kind] = {
            "threshold": threshold,
            "CAM": round(best, 4),
            "alpha": alphas[place],
            "refined": round(masks[kind][place].miou(), 4),
        }
    return rows


def main() -> None:
    """Train, score and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, required=True, help="workspace of benchmarks.voc_animals; it stays as it is")
    parser.add_argument("--updates", type=int, default=210, help="updates of a training that goes on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = (options.finished / "labelseg.toml").read_text()
    seed = int(settings.split("[train-classifier]")[1].split("seed = ")[1].split()[0])
    workspace = Workspace(options.finished)
    tune = options.finished / "splits" / "tune.txt"
    if not tune.exists():
        tune.write_text((SETTINGS / "voc_animals_tune.txt").read_text())
    command = "python -m benchmarks.trials.maps --finished WORKSPACE"
    result = Result(f"trials_maps-seed{seed}", command, seed, updates=options.updates)

    for way in (BASE, "LPCAM", *WAYS):
        if f"{way} on tune" in result.values.get("maps", {}):
            continue
        net = load_network(workspace.model("train-classifier"), "classifier").to(memory_format=torch.channels_last)
        started = time.monotonic()
        if way in WAYS:
            net.backbone.freeze_blocks(4).freeze_batchnorm()
            second = train_further(workspace, net, way, options.updates, seed)
        made = {way: maps_of(net, net.classify.weight[:, :, 0, 0])} if way != "LPCAM" else {way: lpcam(workspace, net, seed)}
        if way == "ReCAM":
            made["ReCAM, both"] = maps_of(net, net.classify.weight[:, :, 0, 0] * second.weight)
            made[way] = maps_of(net, second.weight)
        result.add("seconds", f"{way}: preparation", round(time.monotonic() - started))
        for name, compute in made.items():
            started = time.monotonic()
            on_tune = score(workspace, compute, "tune", None)
            result.add("maps", f"{name} on tune", on_tune)
            best = max(row["refined"] for row in on_tune.values())
            if name != BASE and best < result.values["maps"][f"{BASE} on tune"]["mean"]["refined"] + WORTH:
                continue
            chosen = {kind: (row["threshold"], row["alpha"]) for kind, row in on_tune.items()}
            result.add("maps", f"{name} on train_fine", score(workspace, compute, "train_fine", chosen))
            result.add("seconds", f"{name}: maps and masks", round(time.monotonic() - started))


if __name__ == "__main__":
    main()
