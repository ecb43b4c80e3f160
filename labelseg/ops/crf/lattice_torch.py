"""The mean-field inference of a dense CRF as torch operations, for GPUs: the same lattices, gathered and added in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelseg.ops.crf.simplices import enclosing_simplices, key_code


class TorchLattice(NamedTuple):
    """A lattice of ``labelseg.ops.crf.lattice`` on a device; its vertices are numbered in another order.

    Attributes:
        vertex: (d + 1, n) int64: vertices of the simplex around each point.
        weight: (d + 1, n) float32: share of each of them.
        neighbours: (d + 1, 2, m) int64: next and last vertex along each axis; m where there is none.
    """

    vertex: Tensor
    weight: Tensor
    neighbours: Tensor


def build_torch_lattice(features: NDArray[np.float32], device: str) -> TorchLattice:
    """Build the lattice around (d, n) points."""
    factors, constant = key_code(features)
    factor = torch.from_numpy(factors).to(device)[:, None]
    size = len(factor)
    steps = factor.sum() - size * factor
    origin, residual, position = enclosing_simplices(torch.from_numpy(features).to(device))

    axis = position.argsort(dim=0)
    ascending = residual.gather(0, axis)
    weight = torch.cat([1 + ascending[:1] - ascending[-1:], ascending.diff(dim=0)])
    walked = steps.expand(-1, axis.shape[1]).gather(0, axis)[:-1].cumsum(dim=0)
    first = constant + (size * factor * origin.long()).sum(dim=0, keepdim=True)
    keys, index = torch.cat([first, first + walked]).unique(return_inverse=True)

    neighbours = torch.stack([_find(keys, keys + step) for step in torch.cat([steps, -steps], dim=1).ravel()])
    return TorchLattice(index, weight, neighbours.reshape(size, 2, -1))


def _find(keys: Tensor, wanted: Tensor) -> Tensor:
    """Give the places of numbers among ascending ones; their count where they are absent."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, place, len(keys))


def torch_lattice_filter(lattice: TorchLattice, values: Tensor) -> Tensor:
    """Sum values (n, C) over points, weighted by the Gaussian of their distance, up to a constant factor."""
    table = values.new_zeros(lattice.neighbours.shape[-1] + 1, values.shape[1])
    for vertex, weight in zip(lattice.vertex, lattice.weight, strict=True):
        table.index_add_(0, vertex, weight[:, None] * values)
    for after, before in lattice.neighbours:
        table[:-1] += 0.5 * (table[after] + table[before])
    filtered = torch.zeros_like(values)
    for vertex, weight in zip(lattice.vertex, lattice.weight, strict=True):
        filtered += weight[:, None] * table[vertex]
    return filtered


@torch.inference_mode()
def torch_mean_field(
    priors: NDArray[np.float32],
    sizes: Sequence[int],
    features: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
    iterations: int,
    tolerance: float = 0.0,
    device: str = "cuda",
) -> NDArray[np.float32]:
    """Do what ``labelseg.ops.crf.mean_field.mean_field`` does, on the lattices of features, on a device.

    Sums on a GPU have no fixed order, so values may differ by rounding from run to run.

    Args:
        priors: (L, N) float32 log-probabilities of the labels of all stacks, one stack after the other.
        sizes: Number of labels of each stack; they sum to L.
        features: (d, N) float32 for each kernel, in deviations.
        weights: Of the kernels.
        iterations: Mean-field updates.
        tolerance: Stop when the largest change of an update, times the updates left, is at most this; 0 does all of them.
        device: Torch device name.

    Returns:
        (L, N) float32 marginals; those of a stack sum to 1.
    """
    lattices = [build_torch_lattice(points, device) for points in features]
    ones = torch.ones(priors.shape[1], 1, device=device)
    roots = [(torch_lattice_filter(lattice, ones) + 1e-20).rsqrt() for lattice in lattices]
    prior = torch.from_numpy(priors).to(device).T

    def marginals(logits: Tensor) -> Tensor:
        return torch.cat([stack.softmax(dim=1) for stack in logits.split(list(sizes), dim=1)], dim=1)

    beliefs = marginals(prior)
    for left in range(iterations - 1, -1, -1):
        logits = prior.clone()
        for lattice, root, weight in zip(lattices, roots, weights, strict=True):
            logits += weight * root * torch_lattice_filter(lattice, root * beliefs)
        before, beliefs = beliefs, marginals(logits)
        if tolerance > 0 and left * float((beliefs - before).abs().max()) <= tolerance:
            break
    return beliefs.T.contiguous().cpu().numpy()
