"""Kinds of affinity on real photos, walked from the same class activation maps: learned as in PSA and as in IRN, features, colours, none.

Run: ``python -m benchmarks.affinity.kinds --finished WORKSPACE``, a workspace of ``benchmarks.voc_animals`` in which ``train-affinity``
is done. It is copied and stays as it is. Every kind walks over one scale without mirror, guard or CRF. For every kind alike the
exponent and the threshold are those of a grid with the best mIoU on the 50 tuning masks; then ``labelseg propagate`` makes its masks
with them. Interrupted and run again, it goes on where it stopped. The result is written to
``benchmarks/results/affinity_kinds-seed<seed>.json`` after each step that adds to it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.recording import SETTINGS, Result, copy_finished, labelseg
from labelseg.inference.affinities import Features, Links, affinity_function
from labelseg.models.fast.inference_form import for_inference
from labelseg.models.networks import load_network
from labelseg.ops.affinity.grid import from_grid, to_grid
from labelseg.ops.affinity.pairs import pair_offsets
from labelseg.ops.affinity.random_walk import random_walk
from labelseg.ops.cam import normalize_cam, resize_maps, score_mask
from labelseg.ops.metrics import ConfusionMatrix
from labelseg.pipeline.engines.progress import show_progress
from labelseg.workspace import Workspace

READ = ("train-classifier", "cam", "refine", "affinity-labels", "train-affinity")
BETAS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # of the walk over nothing, where the exponent changes nothing
THRESHOLDS = (*(round(0.05 * k, 2) for k in range(2, 20)), 0.97, 0.98, 0.99)
PLAIN = ("--scales", "1", "--no-crf", "--guard", "off", "--iters", "256")
PRECISION = "bf16-mixed"

# The same updates as those of the network of kind psa, from the same labels and settings; the backbone stays as it is, as published.
IRN = ("--kind", "irn", "--freeze-blocks", "19")
# Features of the ImageNet backbone, on the grid of the other kinds: which is walked over is chosen on the tuning masks, too.
FEATURES = {
    "features@both": ("--levels", "3,4"),
    "features@last": ("--levels", "4"),
    "features@middle": ("--levels", "3"),
    "features@dilated": ("--levels", "3,4", "--output-stride", "8"),
}


class Setting(NamedTuple):
    """What is chosen for a kind: exponent, steps and threshold, with the mIoU on the tuning masks."""

    beta: float
    iters: int
    threshold: float
    miou: float


@dataclass(frozen=True)
class Kind:
    """One kind of affinity.

    Attributes:
        instance: Instance of ``propagate`` that walks over it.
        options: Options of that, apart from what is chosen.
        start: Maps that walk.
        source: Instance of the network, or of the features; empty for neither.
        centre: Whether the mean of the image is taken off the features.
    """

    instance: str
    options: tuple[str, ...]
    start: str = "foreground-only"
    source: str = ""
    centre: bool = False

    @property
    def affinity_kind(self) -> str:
        """Where the affinities come from."""
        return self.options[self.options.index("--affinity-kind") + 1]

    @property
    def places(self) -> list[tuple[float, int]]:
        """Exponents and steps that are tried."""
        return [(8.0, steps) for steps in STEPS] if self.affinity_kind == "constant" else [(beta, 256) for beta in BETAS]


def learned(name: str, model: str, start: str) -> Kind:
    """A walk over what a network learned."""
    return Kind(f"propagate@{name}", ("--affinity-kind", "learned", "--affinity", model, "--no-flip"), start, model)


def alike(source: str, centre: bool) -> Kind:
    """A walk over features."""
    return Kind("propagate@alike", ("--affinity-kind", "features", "--features", source), source=source, centre=centre)


KINDS = {
    "learned, PSA": learned("psa", "train-affinity", "foreground-only"),
    "learned, IRN": learned("irn", "train-affinity@irn", "irn"),
    "learned, IRN, maps not damped": learned("undamped", "train-affinity@irn", "foreground-only"),
    "colours": Kind("propagate@colours", ("--affinity-kind", "colour")),
    "constant": Kind("propagate@constant", ("--affinity-kind", "constant")),
}


def prepare(workspace: Path, finished: Path) -> None:
    """Copy what is read of a finished workspace, and write lists of the images to choose on and to score."""
    copy_finished(workspace, finished, READ)
    (workspace / "splits" / "tune.txt").write_text((SETTINGS / "voc_animals_tune.txt").read_text())
    half = (finished / "splits" / "train_fine.txt").read_text().split()[::2]
    (workspace / "splits" / "train_fine_half.txt").write_text("\n".join(half) + "\n")


class Grid(NamedTuple):
    """Links of the cells of an image, and the stride of their grid."""

    links: Links
    stride: int


def links_of(workspace: Workspace, kind: Kind, offsets: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Grid]]:
    """Link the cells of every tuning image."""
    ids = workspace.dataset.ids("tune")
    if kind.affinity_kind == "features":
        artifact = workspace[kind.source, "tune"]
        for image_id in ids:
            features = Features.of(artifact[image_id])
            if kind.centre:
                values = features.values.astype(np.float32)
                features = features._replace(values=(values - values.mean(axis=(0, 1))).astype(np.float16))
            yield image_id, Grid(features.links(workspace.dataset.image(image_id), offsets), features.stride)
        return
    net = for_inference(load_network(workspace.model(kind.source), "affinity-net|boundary-net")) if kind.source else None
    find, stride = affinity_function(kind.affinity_kind, net, offsets, device="cpu", precision=PRECISION)
    for image_id in ids:
        yield image_id, Grid(find(workspace.dataset.image(image_id)), stride)


def search(workspace: Workspace, kind: Kind) -> Setting:
    """Find the exponent, or the steps, and the threshold with the best mIoU on the tuning masks."""
    offsets = pair_offsets(5)
    matrices = {place: [ConfusionMatrix(len(workspace.dataset.classes)) for _ in THRESHOLDS] for place in kind.places}
    cams = workspace["cam", "tune"]
    with show_progress(len(cams), kind.instance) as progress:
        for image_id, (links, stride) in links_of(workspace, kind, offsets):
            cam, truth = cams[image_id], workspace.dataset.mask(image_id)
            for beta, steps in kind.places:
                maps = walked(links, stride, cam["scores"], truth.shape, offsets, kind.start, beta, steps)
                for matrix, threshold in zip(matrices[beta, steps], THRESHOLDS, strict=True):
                    matrix.update(truth, mask_of(maps, cam["class_ids"], threshold))
            progress.update(1)
    found = [
        Setting(beta, steps, threshold, matrix.miou())
        for (beta, steps), of_place in matrices.items()
        for threshold, matrix in zip(THRESHOLDS, of_place, strict=True)
    ]
    return max(found, key=lambda setting: setting.miou)


def walked(
    links: Links,
    stride: int,
    cams: NDArray[np.floating],
    size: tuple[int, ...],
    offsets: Sequence[tuple[int, int]],
    start: str,
    beta: float,
    steps: int,
) -> NDArray[np.float32]:
    """Walk maps as ``propagate`` does at one scale: (C, H, W), each over its own maximum, or over one for all where the start is damped."""
    damped = start == "irn" and links.boundary is not None
    cells = np.asarray(cams) if damped and cams.shape[1:] == links.affinities.shape[1:] else to_grid(cams, (size[0], size[1]), stride)
    if damped:
        cells = cells * (1 - links.boundary)
    maps = random_walk(cells, links.affinities, offsets, beta=beta, steps=steps, tolerance=1e-4)
    enlarged = from_grid(maps if damped else normalize_cam(maps), stride, (size[0], size[1]), (size[0], size[1]))
    return normalize_cam(enlarged, together=damped)


def mask_of(maps: NDArray[np.float32], class_ids: NDArray[np.integer], threshold: float) -> NDArray[np.uint8]:
    """The strongest class where it is above the threshold, else 0."""
    if len(maps) == 0:
        return np.zeros(maps.shape[1:], np.uint8)
    return np.where(maps.max(axis=0) > threshold, score_mask(maps, class_ids), np.uint8(0))


def baseline(workspace: Workspace) -> Setting:
    """Find the threshold of the maps that nothing walks."""
    matrices = [ConfusionMatrix(len(workspace.dataset.classes)) for _ in THRESHOLDS]
    for image_id, cam in workspace["cam", "tune"].items():
        truth = workspace.dataset.mask(image_id)
        maps = resize_maps(cam["scores"], truth.shape)
        for matrix, threshold in zip(matrices, THRESHOLDS, strict=True):
            matrix.update(truth, mask_of(maps, cam["class_ids"], threshold))
    best = max(range(len(THRESHOLDS)), key=lambda k: matrices[k].miou())
    return Setting(0.0, 0, THRESHOLDS[best], matrices[best].miou())


def chosen(result: Result, name: str, find: Any) -> Setting:
    """Take what was chosen before, or choose and write it down."""
    kept: Mapping[str, Any] = result.values.get("chosen", {})
    if name not in kept:
        started = time.monotonic()
        result.add("chosen", name, find()._asdict())
        result.add("seconds", f"search: {name}", round(time.monotonic() - started))
    return Setting(**result.values["chosen"][name])


def measured(result: Result, workspace: Path, row: str, instance: str, split: str, made_for: str = "") -> float:
    """Score an instance on a split, unless that is done; returns the mIoU."""
    name = f"{row} on {split}"
    if name not in result.values.get("miou", {}):
        result.score(workspace, row, instance, made_for or split, split if made_for else "")
    return float(result.values["miou"][name]["miou"])


def walk(result: Result, workspace: Path, row: str, kind: Kind, setting: Setting, split: str) -> None:
    """Make the masks of a kind with what was chosen, by the command, and score them on the tuning masks and on the other ones.

    Raises:
        SystemExit: on the tuning masks the command gives other masks than the search.
    """
    name = kind.instance.partition("@")[2]
    options = ["--beta", f"{setting.beta:g}"] if kind.affinity_kind != "constant" else ["--iters", str(setting.iters)]
    flags = [
        *PLAIN,
        *kind.options,
        "--cam",
        "cam",
        "--start",
        kind.start,
        "--threshold",
        f"{setting.threshold:g}",
        "--precision",
        PRECISION,
    ]
    for where in ("tune", split):
        if f"{row} on {where}" in result.values.get("miou", {}):
            continue
        started = time.monotonic()
        labelseg(workspace, "propagate", "--as", name, *flags, *options, "--split", where)
        result.add("seconds", f"walk: {row} on {where}", round(time.monotonic() - started))
        score = measured(result, workspace, row, kind.instance, where)
        if where == "tune" and abs(score - setting.miou) > 2e-3:
            raise SystemExit(f"{row}: the search found {setting.miou:.4f} on the tuning masks, the command gives {score:.4f}.")


def make_features(workspace: Path, instance: str, flags: Sequence[str], split: str, weights: str) -> None:
    """Compute features by the command."""
    stride = ("--stride", "8", "--backbone", "mobilenet_v2", "--weights", weights, "--precision", PRECISION)
    labelseg(workspace, "features", "--as", instance.partition("@")[2], *stride, *flags, "--split", split)


def main() -> None:
    """Choose, walk and score every kind, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, required=True, help="workspace of benchmarks.voc_animals; it stays as it is")
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--half", action="store_true", help="score every second image of train_fine only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = (options.finished / "labelseg.toml").read_text()
    seed = int(settings.split("[train-affinity]")[1].split("seed = ")[1].split()[0])
    weights = settings.split("[train-affinity]")[1].split('weights = "')[1].split('"')[0]
    path = options.workspace or Path("runs") / f"affinity_kinds-seed{seed}"
    split = "train_fine_half" if options.half else "train_fine"
    prepare(path, options.finished)
    result = Result(f"affinity_kinds-seed{seed}", "python -m benchmarks.affinity.kinds --finished WORKSPACE", seed, split=split)
    for where in ("tune", split):
        labelseg(path, "cam", "--only", "--split", where)  # items that are there under another split's name
    started = time.monotonic()
    labelseg(path, "train-affinity", "--as", "irn", *IRN, "--only")
    result.add("seconds", "train-affinity@irn", round(time.monotonic() - started))

    workspace = Workspace(path)
    setting = chosen(result, "CAM", lambda: baseline(workspace))
    for where in ("tune", split):
        if f"CAM on {where}" not in result.values.get("miou", {}):
            row = labelseg(path, "evaluate", "cam", "--split", where, "--threshold", f"{setting.threshold:g}", "--json", capture=True)
            result.add("miou", f"CAM on {where}", json.loads(row)[0])
    for row, kind in KINDS.items():
        walk(result, path, row, kind, chosen(result, row, lambda kind=kind: search(Workspace(path), kind)), split)  # type: ignore[misc]
    found = {}
    for source, flags in FEATURES.items():
        if f"{source}" not in result.values.get("chosen", {}) or f"{source}, centred" not in result.values["chosen"]:
            make_features(path, source, flags, "tune", weights)
        for centre in (False, True):
            kind = alike(source, centre)
            name = f"{source}, centred" if centre else source
            found[kind] = chosen(result, name, lambda kind=kind: search(Workspace(path), kind))  # type: ignore[misc]
    best = max(found, key=lambda kind: found[kind].miou)
    flags = (*FEATURES[best.source], "--centre" if best.centre else "--no-centre")
    result.add("features", "walked over", " ".join(flags))
    for where in ("tune", split):
        if f"features of the ImageNet backbone on {where}" not in result.values.get("miou", {}):
            make_features(path, "features@best", flags, where, weights)
    kind = replace(best, options=("--affinity-kind", "features", "--features", "features@best"))
    walk(result, path, "features of the ImageNet backbone", kind, found[best], split)
    result.stages(path)


if __name__ == "__main__":
    main()
