"""The pixel selector: two classifiers that are driven apart, and where they disagree.

Source: Shin et al. 2021 (LabOR) and, for the discrepancy, Saito et al. 2018 (MCD), published code; spec labor 1.5 and 1.6. LabOR has no
published code: the size of the grid, corners, ties and where gradients stop are decisions of ours.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from labelseg.ops.losses import cross_entropy


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Average the absolute difference of two predictions, over everything.

    Args:
        first, second: Logits (B, K) or (B, K, H, W).

    Returns:
        Scalar in [0, 2 / K].

    Source: Saito et al. 2018, published code; spec labor 1.5.
    """
    return (first.softmax(dim=1) - second.softmax(dim=1)).abs().mean()


def selector_loss(first: Tensor, second: Tensor, labels: Tensor, apart: tuple[Tensor, Tensor] | None = None, weight: float = 1.0) -> Tensor:
    """Compute what trains the pixel selector: both classifiers learn the pseudo labels while their discrepancy is maximised.

    Args:
        first, second: Logits (B, K, H, W) of the two classifiers.
        labels: (B, H, W) pseudo labels, 255 without one.
        apart: The same logits with gradients that stop at the classifiers, for the discrepancy; None takes ``first`` and ``second``.
        weight: Of the discrepancy.

    Returns:
        Scalar: the sum of both mean cross entropies, minus ``weight`` times the discrepancy.

    Source: Shin et al. 2021, L_pt; spec labor 1.5: the weight and the place where gradients stop are ours.
    """
    return cross_entropy(first, labels) + cross_entropy(second, labels) - weight * discrepancy(*(apart or (first, second)))


def to_grid_size(logits: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Bring logits (B, K, h, w) to the size (H, W) of the label grid, bilinearly."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)


def inconsistency_mask(first: Tensor, second: Tensor, size: tuple[int, int] | None = None, align_corners: bool = True) -> NDArray[np.bool_]:
    """Mark the pixels to which the two classifiers give different classes.

    Args:
        first, second: Logits (K, h, w); the lowest class wins a tie.
        size: (H, W) of the label grid, to which logits are brought first; None leaves them as they are.
        align_corners: Whether corner cells coincide there.

    Returns:
        (H, W) bool.

    Source: Shin et al. 2021, equation 4; spec labor 1.6: the order of the two steps and the corners are ours.
    """
    size = size or (first.shape[1], first.shape[2])
    one, two = (first_class(to_grid_size(logits[None], size, align_corners)[0]) for logits in (first, second))
    return one != two


def first_class(logits: Tensor) -> NDArray[np.int64]:
    """Find the most probable class of each pixel of (K, H, W), the lowest where several are: torch itself promises none of them."""
    return logits.detach().cpu().numpy().argmax(axis=0)


@torch.no_grad()
def nudge(parameters: list[Tensor], deviation: float, seed: int) -> None:
    """Add seeded noise to the parameters of the second classifier: an exact copy of the first would never move away from it.

    Args:
        parameters: Changed in place, any shapes.
        deviation: Of the noise.
        seed: At least 0.

    Source: ours; spec labor 1.1: at equality the gradient of the discrepancy is 0 and those of the cross entropies coincide.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.add_(deviation * torch.randn(parameter.shape, generator=generator))
