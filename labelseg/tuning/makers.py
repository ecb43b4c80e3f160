"""Masks of one image under many settings, from what is stored: whatever settings share is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from labelseg.inference.affinities import Features
from labelseg.inference.walks import Walker, walked_mask
from labelseg.ops.cam import cam_mask, resize_maps, score_mask, with_background
from labelseg.ops.crf.dense_crf import Bilateral, Gaussian, dense_crf_pair
from labelseg.pipeline.engines.progress import show_progress
from labelseg.protocols import Images
from labelseg.tuning.judges import Judge
from labelseg.tuning.search import Measure, Settings
from labelseg.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray


GROUPS = 10
Stored = Mapping[str, Mapping[str, Any]]


class Maker(Protocol):
    """Makes masks of an image."""

    def masks(self, image_id: str, points: Sequence[Settings]) -> Iterator[NDArray[np.uint8]]:
        """The mask (H, W) under each of some settings, in their order."""


class ThresholdedMaps:
    """Class activation maps against a threshold: ``threshold``.

    Args:
        dataset: The images.
        cams: Image -> item of stage ``cam``.
    """

    def __init__(self, dataset: Images, cams: Stored) -> None:
        self._dataset, self._cams = dataset, cams

    def masks(self, image_id: str, points: Sequence[Settings]) -> Iterator[NDArray[np.uint8]]:
        """The mask (H, W) under each of some settings, in their order."""
        cam = self._cams[image_id]
        scores = resize_maps(cam["scores"], tuple(cam["size"].tolist()))
        for point in points:
            yield cam_mask(scores, cam["class_ids"], point["threshold"])


class RefinedMaps:
    """What stage ``refine`` makes of maps: ``alpha``, ``crf_sxy``, ``crf_srgb``.

    Args:
        dataset: The images.
        cams: Image -> item of stage ``cam``.
        params: Parameters of the stage; settings that are not among the points hold as they are there.
        device: Torch device name.
    """

    def __init__(self, dataset: Images, cams: Stored, params: Any, device: str = "cpu") -> None:
        self._dataset, self._cams, self._params, self._device = dataset, cams, params, device

    def masks(self, image_id: str, points: Sequence[Settings]) -> Iterator[NDArray[np.uint8]]:
        """The mask (H, W) under each of some settings, in their order."""
        image, cam = self._dataset.image(image_id), self._cams[image_id]
        scores = resize_maps(cam["scores"], image.shape[:2])
        class_ids = np.concatenate([[0], cam["class_ids"]]).astype(np.int16)
        settings = [replace(self._params, **point) for point in points]
        found: dict[tuple[float, float, float], NDArray[np.uint8]] = {}
        for kernel in dict.fromkeys((params.crf_sxy, params.crf_srgb) for params in settings):
            alphas = list(dict.fromkeys(params.alpha for params in settings if (params.crf_sxy, params.crf_srgb) == kernel))
            refined = dense_crf_pair(
                image,
                [with_background(scores, alpha) for alpha in alphas],
                iterations=self._params.crf_iters,
                gaussian=Gaussian(self._params.crf_smooth_sxy, self._params.crf_smooth_weight),
                bilateral=Bilateral(*kernel, self._params.crf_weight),
                backend=self._params.crf_backend,
                tolerance=self._params.crf_tolerance,
                device=self._device,
            )
            found |= {(alpha, *kernel): score_mask(marginals, class_ids) for alpha, marginals in zip(alphas, refined, strict=True)}
        for params in settings:
            yield found[params.alpha, params.crf_sxy, params.crf_srgb]


class WalkedMaps:
    """What stage ``propagate`` makes of maps: ``threshold``, ``background_weight`` or ``alpha``, and ``crf_sxy``, ``crf_srgb``.

    Walks are kept in a folder once they are computed: an image walks once, and with ``start = "psa"`` once an alpha.

    Args:
        dataset: The images.
        cams: Image -> item of stage ``cam``.
        params: Parameters of the stage; settings that are not among the points hold as they are there.
        walker: Walks the maps.
        guards: Image -> item whose mask tells how much of the image a class may cover; empty without a guard.
        folder: Where walks are kept.
        features: Image -> item with features, where they give the affinities; else empty.
        device: Torch device name.
    """

    def __init__(
        self,
        dataset: Images,
        cams: Stored,
        params: Any,
        walker: Walker,
        guards: Stored,
        folder: Path,
        features: Stored,
        device: str = "cpu",
    ) -> None:
        self._dataset, self._cams, self._params, self._walker = dataset, cams, params, walker
        self._guards, self._folder, self._features, self._device = guards, folder, features, device
        self._files: dict[tuple[str, float], Path] = {}

    def masks(self, image_id: str, points: Sequence[Settings]) -> Iterator[NDArray[np.uint8]]:
        """The mask (H, W) under each of some settings, in their order."""
        image, class_ids = self._dataset.image(image_id), self._cams[image_id]["class_ids"]
        class_ids = np.concatenate([[0], class_ids]).astype(np.int16)
        guard = self._guards[image_id]["mask"] if self._guards else None
        for point in points:
            params = replace(self._params, **point)
            yield walked_mask(params, image, self._walked(image_id, image, params.alpha), class_ids, guard, self._device)

    def _walked(self, image_id: str, image: NDArray[np.uint8], alpha: float) -> NDArray[np.float32]:
        """Walk the maps of an image, or take the walk that was kept: (K, H, W)."""
        key = image_id, alpha if self._params.start == "psa" else 0.0
        if key not in self._files:
            path = self._folder / f"{len(self._files)}.npy"
            features = Features.of(self._features[image_id]) if self._features else None
            walked = self._walker.maps(image, self._cams[image_id]["scores"], alpha, features)
            np.save(path, walked, allow_pickle=False)
            self._files[key] = path
        kept: NDArray[np.float32] = np.load(self._files[key], allow_pickle=False)
        return kept


def measure_with(maker: Maker, judge: Judge, ids: Sequence[str], told: str) -> Measure:
    """Make a function that scores settings on some images, every image read once for all of them.

    Args:
        maker: Makes masks.
        judge: Scores them.
        ids: The images.
        told: What the progress bar says.
    """

    def measure(points: Sequence[Settings]) -> list[float]:
        tallies = [judge.tally() for _ in points]
        with show_progress(len(ids), f"{told}, {counted(len(points), 'setting')}") as progress:
            for image_id in ids:
                for tally, mask in zip(tallies, maker.masks(image_id, points), strict=True):
                    judge.add(tally, image_id, mask)
                progress.update(1)
        return [judge.value(tally) for tally in tallies]

    return measure


def gain_error(maker: Maker, judge: Judge, ids: Sequence[str], points: tuple[Settings, Settings], told: str) -> float:
    """Standard error of the difference between the scores of two settings, by the jackknife over images.

    Images are left out in ten groups, or one by one where there are fewer: with g groups and d_k the difference without group k the
    error is ``sqrt((g - 1) / g * sum (d_k - mean d) ** 2)``.

    Args:
        maker: Makes masks.
        judge: Scores them.
        ids: The images, in an order that has nothing to do with their content.
        points: The two settings.
        told: What the progress bar says.

    Returns:
        At least 0, in units of the score; infinite for fewer than two images, where there is nothing to tell it by.

    Source: Quenouille 1956, Tukey 1958.
    """
    groups = min(GROUPS, len(ids))
    if groups < 2:
        return float("inf")
    without = [[judge.tally() for _ in points] for _ in range(groups)]
    with show_progress(len(ids), told) as progress:
        for number, image_id in enumerate(ids):
            for place, mask in enumerate(maker.masks(image_id, points)):
                own = judge.tally()
                judge.add(own, image_id, mask)
                for group in range(groups):
                    if group != number % groups:
                        judge.merge(without[group][place], own)
            progress.update(1)
    differences = np.array([judge.value(second) - judge.value(first) for first, second in without])
    return float(np.sqrt((groups - 1) / groups * np.sum((differences - differences.mean()) ** 2)))
