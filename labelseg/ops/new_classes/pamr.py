"""Pixel-adaptive mask refinement: scores move to neighbours of like colour, without parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12)


def pamr(image: Tensor, scores: Tensor, iterations: int = 10, dilations: Sequence[int] = DILATIONS) -> Tensor:
    """Average the scores of a pixel's neighbours, weighted by likeness of colour, several times over.

    ``m_i <- sum_n a_in m_n`` over the 8 neighbours at each dilation; the pixel itself is not among them.

    Args:
        image: (B, 3, H, W) float, in [0, 1].
        scores: (B, C, h, w) float; resized to H x W where sizes differ (bilinear, corners aligned).
        iterations: At least 0.
        dilations: Distances of the neighbours, pixels. Beyond the border the nearest pixel counts.

    Returns:
        (B, C, H, W) of the dtype of ``scores``; a convex combination of the scores, so a constant stays.

    Source: Araslanov & Roth 2020 (single-stage WSSS); spec wilson 1.5.
    """
    size = image.shape[2:]
    if scores.shape[2:] != size:
        scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=True)
    weights = pamr_weights(image, dilations).to(scores.dtype)
    offsets, reach = _offsets(dilations), max(dilations, default=0)
    # One shifted view a neighbour instead of a stack of all: a fortieth of the memory, and no copies.
    for _ in range(iterations):
        padded = F.pad(scores, (reach,) * 4, mode="replicate")
        scores = torch.zeros_like(scores)
        for k, offset in enumerate(offsets):
            scores = torch.addcmul(scores, _shifted(padded, offset, reach, size), weights[:, k : k + 1])
    return scores


def pamr_weights(image: Tensor, dilations: Sequence[int] = DILATIONS) -> Tensor:
    """Compare each pixel with its neighbours: softmax over them of ``mean over channels of -|I - I_n| / (1e-8 + 0.1 s)``.

    ``s`` is the unbiased standard deviation of a channel over the 3 x 3 patches of all dilations, centres included.

    Args:
        image: (B, 3, H, W) float, in [0, 1].
        dilations: Distances of the neighbours, pixels.

    Returns:
        (B, 8 * len(dilations), H, W) float, >= 0, summing to 1 over the neighbours: dilation by dilation, each 3 x 3 patch row by row.
    """
    size, reach = image.shape[2:], max(dilations, default=0)
    padded = F.pad(image, (reach,) * 4, mode="replicate")
    neighbours = torch.stack([_shifted(padded, offset, reach, size) for offset in _offsets(dilations)], dim=1)  # (B, N, 3, H, W)
    centres = image[:, None].expand(-1, len(dilations), -1, -1, -1)
    deviation = torch.cat([neighbours, centres], dim=1).std(dim=1, keepdim=True)
    likeness = -(neighbours - image[:, None]).abs() / (1e-8 + 0.1 * deviation)
    return likeness.mean(dim=2).softmax(dim=1)


def _offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """List (dy, dx) of the neighbours, the centre left out."""
    steps = (-1, 0, 1)
    return [(dilation * dy, dilation * dx) for dilation in dilations for dy in steps for dx in steps if dy or dx]


def _shifted(padded: Tensor, offset: tuple[int, int], reach: int, size: torch.Size) -> Tensor:
    """View the neighbours at one offset of every pixel."""
    top, left = reach + offset[0], reach + offset[1]
    return padded[..., top : top + size[0], left : left + size[1]]
