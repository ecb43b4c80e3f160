"""Walks of class activation maps on whole images, and the masks read off them: what stage ``propagate`` does to an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import UsageError
from labelseg.inference.affinities import Features, Links, affinity_function
from labelseg.inference.predictor import resize_image
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.ops.affinity.floods import competing_mask, competing_scores, guard_mask
from labelseg.ops.affinity.grid import from_grid, to_grid
from labelseg.ops.affinity.pairs import pair_offsets, psa_origins
from labelseg.ops.affinity.random_walk import random_walk
from labelseg.ops.cam import normalize_cam, resize_maps, score_mask, with_background
from labelseg.ops.crf.dense_crf import Bilateral, dense_crf, label_crf

AUTO = "auto"  # the value of a parameter that follows something else


def start_of(params: Any, net: AffinityNet | BoundaryNet | None) -> str:
    """Tell which maps walk: what the parameters say, and for auto irn where a network of boundaries gives the affinities.

    Args:
        params: Parameters of stage ``propagate``.
        net: The network; None where affinities are not learned.
    """
    if params.start != AUTO:
        return str(params.start)
    return "irn" if isinstance(net, BoundaryNet) else "foreground-only"


class Walker:
    """Spreads class activation maps over the affinities of an image.

    Args:
        params: Parameters of stage ``propagate``, their start as of ``start_of``.
        net: AffinityNet or BoundaryNet; unused unless affinities are learned.
        device: Torch device name.
    """

    def __init__(self, params: Any, net: AffinityNet | BoundaryNet | None, device: str) -> None:
        self._params, self._device = params, device
        self._own_maximum = params.start not in ("psa", "irn")
        self._offsets = pair_offsets(params.radius)
        self._has_features = params.affinity_kind == "features"
        self._scales = (1.0,) if self._has_features else params.scales
        if not self._has_features:
            self._find_links, self._stride = affinity_function(
                params.affinity_kind,
                net,
                self._offsets,
                device=device,
                precision=params.precision,
                flip=params.flip,
                colour_range=params.colour_range,
            )

    def maps(
        self, image: NDArray[np.uint8], cams: NDArray[np.floating], alpha: float, features: Features | None = None
    ) -> NDArray[np.float32]:
        """Walk the start maps of an image at all scales.

        Args:
            image: (H, W, 3) uint8 RGB.
            cams: (C, h, w) in [0, 1], of any size.
            alpha: Background exponent of the start maps; read where the walk starts as psa.
            features: Of the places of the image; needed where affinities are those of features.

        Returns:
            (C, H, W) float32, or (1 + C, H, W) with that of the background first where one walks; each has a maximum of 1 unless
            the walk starts as psa or irn.
        """
        start = cams
        if self._params.start == "psa":
            start = with_background(resize_maps(cams, image.shape[:2]), alpha)
        elif self._params.start == "background" or self._params.guard == "competitor":
            start = with_background(cams, 1.0)
        walked = np.mean([self._walk(image, start, scale, features) for scale in self._scales], axis=0)
        return normalize_cam(walked) if self._own_maximum else walked

    def _links(self, image: NDArray[np.uint8], features: Features | None) -> tuple[Links, int]:
        """Link the cells of an image; also the stride of their grid."""
        if not self._has_features:
            return self._find_links(image), self._stride
        if features is None:
            raise UsageError("affinities of features: expected features, got none. Name some: labelseg propagate --features features")
        return features.links(image, self._offsets), features.stride

    def _walk(self, image: NDArray[np.uint8], start: NDArray[np.floating], scale: float, features: Features | None) -> NDArray[np.float32]:
        """Walk maps of any size over the grid of the image at one scale, and bring them to the image's size."""
        params = self._params
        scaled = resize_image(image, scale)
        (affinities, boundary), stride = self._links(scaled, features)
        if params.psa_compat:
            affinities = affinities * psa_origins(affinities.shape[1:], params.radius)
        if boundary is not None and params.start == "irn":
            is_there = start.shape[1:] == boundary.shape  # maps are stored on this very grid
            cells = (start if is_there else to_grid(start, scaled.shape[:2], stride)) * (1 - boundary)
        else:
            cells = to_grid(start, scaled.shape[:2], stride, count_padding=params.psa_compat)
        walked = random_walk(
            cells, affinities, self._offsets, beta=params.beta, steps=params.iters, tolerance=params.tolerance, device=self._device
        )
        return from_grid(normalize_cam(walked) if self._own_maximum else walked, stride, scaled.shape[:2], image.shape[:2])


def walked_classes(params: Any, maps: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Take the maps of the classes from walked maps, as they are compared with a threshold.

    Args:
        params: Parameters of stage ``propagate``, their start as of ``start_of``.
        maps: As ``Walker.maps`` gives them.
        count: Number of classes, C.

    Returns:
        (C, H, W) float32; of a walk that starts as irn over one maximum.
    """
    walked = maps[len(maps) - count :]
    return normalize_cam(walked, together=True) if params.start == "irn" else walked


def walked_mask(
    params: Any,
    image: NDArray[np.uint8],
    maps: NDArray[np.float32],
    class_ids: NDArray[np.integer],
    guard: NDArray[np.uint8] | None = None,
    device: str = "cpu",
) -> NDArray[np.uint8]:
    """Read a mask off walked maps: against a threshold or a background, with the guard and the dense CRF where they are asked for.

    Args:
        params: Parameters of stage ``propagate``, their start as of ``start_of``.
        image: (H, W, 3) uint8 RGB.
        maps: As ``Walker.maps`` gives them.
        class_ids: (1 + C,) int16, 0 first.
        guard: (H, W) uint8, the mask that tells how much of the image a class may cover; needed where ``params.guard`` is on.
        device: Torch device name.

    Returns:
        (H, W) uint8 class ids.
    """
    walked = walked_classes(params, maps, len(class_ids) - 1)
    if params.start == "irn":
        maps = normalize_cam(maps)
    scores = maps
    if params.start == "background":
        scores = competing_scores(maps, params.background_weight)
    elif params.start != "psa":
        scores = np.concatenate([np.full((1, *image.shape[:2]), params.threshold, np.float32), walked])
    mask = score_mask(scores, class_ids)
    if params.guard != "off" and guard is not None:
        trusted = [guard]
        if params.guard == "competitor":
            trusted.insert(0, competing_mask(maps, class_ids, params.background_weight))
        mask = guard_mask(mask, trusted, class_ids[1:], params.guard_factor, params.guard_margin)
    if params.crf:
        mask = class_ids[_sharpened(params, image, scores, np.searchsorted(class_ids, mask), device)].astype(np.uint8)
    return mask


def _sharpened(
    params: Any, image: NDArray[np.uint8], scores: NDArray[np.float32], labels: NDArray[np.integer], device: str
) -> NDArray[np.integer]:
    """Run the dense CRF on scores or on labels (H, W), positions in the stack of scores; (H, W) positions."""
    bilateral = Bilateral(params.crf_sxy, params.crf_srgb, params.crf_weight)
    iterations, backend = params.crf_iters, params.crf_backend
    if params.crf_unary == "labels":
        return label_crf(image, labels, len(scores), iterations=iterations, bilateral=bilateral, backend=backend, device=device)
    return dense_crf(image, scores, iterations=iterations, bilateral=bilateral, backend=backend, device=device).argmax(axis=0)
