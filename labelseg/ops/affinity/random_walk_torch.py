"""The random walk as torch operations, for GPUs: a product with the matrix reads every cell's partners, and sums them by their weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from labelseg.ops.affinity.pairs import Offset, pair_windows


class Stencil:
    """The matrix ``S = D^-1/2 W D^-1/2`` of a walk: W holds ``affinity ** beta`` of the pairs and 1 on the diagonal, D its row sums.

    A product takes a handful of operations, whatever the number of offsets: as they are tiny, a GPU mostly waits for the next one.

    Args:
        affinities: (n_offsets, h, w) in [0, 1] on the device, padded form; slots whose partner is outside of the grid are not read.
        offsets: (dy, dx) of the partners.
        beta: Sharpening exponent, > 0.

    Attributes:
        root: (h, w) square roots of the row sums.
        weights: (n, h, w), those of the cells that each cell is linked to.
        partners: (n * h * w,) int64, which cells these are; h * w stands for one outside, whose value is 0.
    """

    def __init__(self, affinities: Tensor, offsets: Sequence[Offset], beta: float) -> None:
        size = h, w = (affinities.shape[1], affinities.shape[2])
        # Offsets beyond the grid link nothing.
        inside = [k for k, (dy, dx) in enumerate(offsets) if dy < h and abs(dx) < w]
        signed = [(0, 0), *(sign for k in inside for sign in (offsets[k], (-offsets[k][0], -offsets[k][1])))]
        self.weights = affinities.new_zeros(len(signed), h, w)
        self.weights[0] = 1
        for place, k in enumerate(inside):
            start, partner = pair_windows(size, offsets[k])
            weight = affinities[k][start] ** beta
            self.weights[1 + 2 * place][start] = weight
            self.weights[2 + 2 * place][partner] = weight
        self.partners = _partners(size, signed, affinities.device)
        self.root = self.weights.sum(dim=0).sqrt()
        self.weights /= self.root
        self.weights *= self._at_partners(1 / self.root[None])[0]

    def _at_partners(self, maps: Tensor) -> Tensor:
        """Read (C, h, w) maps at the partners of every cell; (C, n, h, w)."""
        cells = F.pad(maps.flatten(1), (0, 1))
        return cells.index_select(1, self.partners).unflatten(1, self.weights.shape)

    def __matmul__(self, maps: Tensor) -> Tensor:
        """Multiply (C, h, w) maps."""
        return (self._at_partners(maps) * self.weights).sum(dim=1)


def _partners(size: tuple[int, int], offsets: Sequence[Offset], device: torch.device) -> Tensor:
    """Number the cells at offsets from every cell, row by row; ``h * w`` where there is none."""
    h, w = size
    dy, dx = torch.tensor(offsets, device=device).T[..., None, None]
    rows, columns = torch.arange(h, device=device)[:, None] + dy, torch.arange(w, device=device) + dx
    is_inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    return torch.where(is_inside, rows * w + columns, h * w).flatten()


@torch.inference_mode()
def torch_random_walk(
    scores: NDArray[np.floating],
    affinities: NDArray[np.floating],
    offsets: Sequence[Offset],
    *,
    beta: float,
    steps: int,
    coefficients: NDArray[np.float64] | None,
    dtype: type,
    device: str,
) -> NDArray[np.float32]:
    """Do what ``labelseg.ops.affinity.random_walk.random_walk`` does, on a device.

    Args:
        scores: (C, h, w).
        affinities: (len(offsets), h, w) in [0, 1].
        offsets, beta, steps: As there.
        coefficients: (n,) of the Chebyshev polynomials whose sum replaces the power; None takes every step.
        dtype: float32 or float64.
        device: Torch device name.

    Returns:
        (C, h, w) float32.
    """
    precise = dtype is np.float64 and not device.startswith("mps")  # which has no float64
    stencil = Stencil(
        torch.from_numpy(np.ascontiguousarray(affinities)).to(device, torch.float64 if precise else torch.float32), offsets, beta
    )
    start = torch.from_numpy(np.ascontiguousarray(scores)).to(stencil.root) * stencil.root
    if coefficients is None:
        total = start
        for _ in range(steps):
            total = stencil @ total
    else:
        total, before, current = coefficients[0] * start, start, start
        for k, coefficient in enumerate(coefficients[1:], start=1):
            product = stencil @ current
            before, current = current, (product if k == 1 else 2 * product - before)
            total = total + coefficient * current
    return (total / stencil.root).float().cpu().numpy()
