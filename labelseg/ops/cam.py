"""Class activation maps: merge them over scales and mirrors, normalise them, and read masks off them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

EPSILON = 1e-5


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Round the sides of an image times ``scale``, half to even as the published code does, and to at least 1."""
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def resize_maps(maps: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (C, h, w) maps to (C, H, W) float32 by bilinear interpolation between pixel centres."""
    if 0 in maps.shape:  # torch refuses to resize nothing
        return np.zeros((maps.shape[0], *size), dtype=np.float32)
    tensor = torch.from_numpy(np.array(maps, dtype=np.float32))
    return F.interpolate(tensor[None], size, mode="bilinear", align_corners=False)[0].numpy()


def merge_cams(maps: Sequence[NDArray[np.floating]], size: tuple[int, int], mirrored: Sequence[bool] | None = None) -> NDArray[np.float32]:
    """Sum maps of several scales and mirrors at one size.

    Args:
        maps: Each (C, h, w) >= 0; sizes differ.
        size: (H, W) of the result.
        mirrored: Which maps come from a mirrored image and are mirrored back here; None means none.

    Returns:
        (C, H, W) float32, not normalised.

    Source: Ahn & Kwak 2018 (spec psa 1.5).
    """
    flags = mirrored if mirrored is not None else [False] * len(maps)
    # Resizing is linear and symmetric: maps of one size are summed before it.
    by_size: dict[tuple[int, ...], NDArray[np.float32]] = defaultdict(lambda: np.float32(0.0))  # type: ignore[arg-type,return-value]
    for cam, flag in zip(maps, flags, strict=True):
        by_size[cam.shape] = by_size[cam.shape] + (cam[..., ::-1] if flag else cam)
    return np.sum([resize_maps(cam, size) for cam in by_size.values()], axis=0, dtype=np.float32)


def normalize_cam(cam: NDArray[np.floating], *, together: bool = False) -> NDArray[np.float32]:
    """Divide each map of (C, H, W) by its maximum + 1e-5, so that it lies in [0, 1); a map of zeros stays zero.

    Args:
        together: Divide all of them by the one maximum, so that a weak map stays weak.

    Source: published PSA code (spec psa 1.5): no minimum is subtracted; all together after the walk of IRN (spec psa 3.4).
    """
    cam = cam.astype(np.float32)
    return cam / (cam.max(axis=None if together else (1, 2), keepdims=True, initial=0.0) + np.float32(EPSILON))


def background_score(cams: NDArray[np.floating], alpha: float) -> NDArray[np.float32]:
    """Score the background by what no class claims: ``(1 - max over classes) ** alpha``.

    Args:
        cams: (C, H, W) in [0, 1] of the classes present; C may be 0.
        alpha: > 0; a high value leaves background only where every map is almost zero.

    Returns:
        (H, W) float32 in [0, 1]; 1 everywhere when no class is present.

    Source: Ahn & Kwak 2018 (spec psa 1.6).
    """
    strongest = cams.max(axis=0, initial=0.0).astype(np.float32)
    return (1.0 - strongest) ** np.float32(alpha)


def with_background(cams: NDArray[np.floating], alpha: float) -> NDArray[np.float32]:
    """Put the background score in front of (C, H, W) maps: (C + 1, H, W) float32."""
    return np.concatenate([background_score(cams, alpha)[None], cams.astype(np.float32)])


def score_mask(scores: NDArray[np.floating], class_ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
    """Label every pixel with the class of its highest score; the first class of a tie wins.

    Args:
        scores: (K, H, W), K >= 1.
        class_ids: (K,) the class of each map.

    Returns:
        (H, W) uint8 class ids.
    """
    return np.asarray(class_ids, dtype=np.uint8)[scores.argmax(axis=0)]


def cam_mask(
    cams: NDArray[np.floating], class_ids: Sequence[int] | NDArray[np.integer], threshold: float | NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Label every pixel with its strongest class where that exceeds ``threshold``, and 0 elsewhere.

    Args:
        cams: (C, H, W) of the classes present; C may be 0.
        class_ids: (C,) their ids.
        threshold: A constant background score, or (H, W) one for each pixel.

    Returns:
        (H, W) uint8 class ids.
    """
    if len(cams) == 0:
        return np.zeros(cams.shape[1:], dtype=np.uint8)
    return np.where(cams.max(axis=0) > threshold, score_mask(cams, class_ids), np.uint8(0))
