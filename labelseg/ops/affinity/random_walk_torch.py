"""The random walk as torch operations, for GPUs: a product with the matrix is a sum of shifted maps, each times its weights."""

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

    Args:
        affinities: (n_offsets, h, w) in [0, 1] on the device, padded form; slots whose partner is outside of the grid are not read.
        offsets: (dy, dx) of the partners.
        beta: Sharpening exponent, > 0.

    Attributes:
        root: (h, w) square roots of the row sums.
    """

    def __init__(self, affinities: Tensor, offsets: Sequence[Offset], beta: float) -> None:
        size = h, w = (affinities.shape[1], affinities.shape[2])
        # Offsets beyond the grid link nothing.
        inside = [k for k, (dy, dx) in enumerate(offsets) if dy < h and abs(dx) < w]
        self.offsets = [(0, 0), *(sign for k in inside for sign in (offsets[k], (-offsets[k][0], -offsets[k][1])))]
        self.weights = affinities.new_zeros(len(self.offsets), h, w)
        self.weights[0] = 1
        for place, k in enumerate(inside):
            start, partner = pair_windows(size, offsets[k])
            weight = affinities[k][start] ** beta
            self.weights[1 + 2 * place][start] = weight
            self.weights[2 + 2 * place][partner] = weight
        self.margin = (max((abs(dy) for dy, _ in self.offsets), default=0), max((abs(dx) for _, dx in self.offsets), default=0))
        self.root = self.weights.sum(dim=0).sqrt()
        self.weights /= self.root
        self.weights = self.weights * self._shifted_roots()

    def _shifted_roots(self) -> Tensor:
        """Inverse square roots of the row sums of every partner; (n, h, w)."""
        padded = self._pad(1 / self.root[None])
        return torch.cat([self._window(padded, offset) for offset in self.offsets])

    def _pad(self, maps: Tensor) -> Tensor:
        rows, columns = self.margin
        return F.pad(maps, (columns, columns, rows, rows))

    def _window(self, padded: Tensor, offset: Offset) -> Tensor:
        """Cut out the cells at an offset from each cell."""
        (dy, dx), (rows, columns), (h, w) = offset, self.margin, self.root.shape
        return padded[:, rows + dy : rows + dy + h, columns + dx : columns + dx + w]

    def __matmul__(self, maps: Tensor) -> Tensor:
        """Multiply (C, h, w) maps."""
        padded = self._pad(maps)
        product = torch.zeros_like(maps)
        for weight, offset in zip(self.weights, self.offsets, strict=True):
            product.addcmul_(weight, self._window(padded, offset))
        return product


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
