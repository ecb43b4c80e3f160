"""Affinities by boundaries: two cells are alike unless a boundary crosses the way between them.

Pairs are held in the padded form of ``labelseg.ops.affinity.pairs``. The path of a pair stays inside of the box that its two
cells span, so every pair of the grid has its path in the grid, and border cells need no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labelseg.errors import UsageError
from labelseg.ops.affinity.pairs import Offset, pair_offsets, pair_windows
from labelseg.ops.affinity.psa import EPSILON, PairLabels, affinity_loss


class BoundaryLoss(NamedTuple):
    """The loss of the boundary and displacement branches and its four terms, scalars."""

    loss: Tensor
    attract: Tensor
    repel: Tensor
    displacement_foreground: Tensor
    displacement_background: Tensor


def path_cells(offset: Offset) -> tuple[Offset, ...]:
    """List the cells that the straight way from (0, 0) to ``offset`` passes at less than one cell's distance.

    Returns:
        Cells (dy, dx) of the box between both ends, from the destination to (0, 0).

    Source: Ahn, Cho & Kwak 2019; cells and order of the published code (spec psa 3.3).
    """
    dy, dx = offset
    cells = [
        (y, x)
        for y in range(min(dy, 0), max(dy, 0) + 1)
        for x in range(min(dx, 0), max(dx, 0) + 1)
        if (dy * x - dx * y) ** 2 < dy * dy + dx * dx
    ]
    return tuple(sorted(cells, key=lambda cell: -abs(cell[0]) - abs(cell[1])))


def path_offsets(radius: int) -> tuple[Offset, ...]:
    """List the offsets of ``pairs.pair_offsets`` in the order of the published boundary code: shortest path first.

    Source: published IRN code (spec psa 3.3); a radius of 10 in training (152 offsets), 5 in inference (34).
    """
    return tuple(sorted(pair_offsets(radius), key=lambda offset: len(path_cells(offset))))


def path_affinities(boundary: Tensor, offsets: Sequence[Offset]) -> Tensor:
    """Measure how free of boundaries the way between the cells of each pair is: ``1 - max of the boundary along the path``.

    Args:
        boundary: (B, h, w) float in [0, 1], the probability of a boundary.
        offsets: (dy, dx) of the partners.

    Returns:
        (B, n_offsets, h, w) in [0, 1]; 0 where the partner is outside of the grid.

    Source: Ahn, Cho & Kwak 2019 (spec psa 3.3).
    """
    if boundary.ndim != 3:
        raise UsageError(f"path affinities: expected a boundary of shape (B, h, w), got {tuple(boundary.shape)}.")
    batch, h, w = boundary.shape
    affinities = boundary.new_zeros(batch, len(offsets), h, w)
    for k, offset in enumerate(offsets):
        (rows, columns), _ = pair_windows((h, w), offset)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            continue
        path = [boundary[:, rows.start + y : rows.stop + y, columns.start + x : columns.stop + x] for y, x in path_cells(offset)]
        affinities[:, k, rows, columns] = 1.0 - torch.stack(path).max(dim=0).values
    return affinities


def displacement_errors(displacement: Tensor, offsets: Sequence[Offset]) -> tuple[Tensor, Tensor]:
    """Compare how the displacements of each pair differ with the offset between them, and with nothing.

    Both cells of a pair within an object point to its centre, so theirs should differ by the offset; those of the background not at all.

    Args:
        displacement: (B, 2, h, w) float, (dy, dx) in cells.
        offsets: (dy, dx) of the partners.

    Returns:
        ``|D(i) - D(j) - (j - i)|`` and ``|D(i) - D(j)|``, summed over dy and dx: each (B, n_offsets, h, w); 0 outside of the grid.

    Source: Ahn, Cho & Kwak 2019 (spec psa 3.3).
    """
    batch, _, h, w = displacement.shape
    from_offset = displacement.new_zeros(batch, len(offsets), h, w)
    from_zero = torch.zeros_like(from_offset)
    for k, offset in enumerate(offsets):
        start, partner = pair_windows((h, w), offset)
        difference = displacement[:, :, *start] - displacement[:, :, *partner]
        expected = displacement.new_tensor(offset).reshape(1, 2, 1, 1)
        from_offset[:, k, *start] = (difference - expected).abs().sum(dim=1)
        from_zero[:, k, *start] = difference.abs().sum(dim=1)
    return from_offset, from_zero


def boundary_loss(affinities: Tensor, displacement: Tensor, offsets: Sequence[Offset], pairs: PairLabels) -> BoundaryLoss:
    """Train boundaries and displacements together: half the affinity terms, half the displacement terms.

    ``(L_bg / 2 + L_fg / 2 + L_neg) / 2 + (D_fg + D_bg) / 2``; every term is a mean over its pairs in the whole batch.

    Args:
        affinities: (B, n_offsets, h, w) of ``path_affinities``.
        displacement: (B, 2, h, w).
        offsets: (dy, dx) of the partners.
        pairs: Masks of (B, n_offsets, h, w).

    Source: Ahn, Cho & Kwak 2019; weights and epsilons of the published code (spec psa 3.3).
    """
    terms = affinity_loss(affinities, pairs)
    attract = terms.background / 2 + terms.foreground / 2
    from_offset, from_zero = displacement_errors(displacement, offsets)
    foreground = _mean_of_pairs(from_offset, pairs.foreground)
    background = _mean_of_pairs(from_zero, pairs.background)
    loss = (attract + terms.different) / 2 + (foreground + background) / 2
    return BoundaryLoss(loss, attract, terms.different, foreground, background)


def _mean_of_pairs(errors: Tensor, mask: Tensor) -> Tensor:
    """Average the errors of both directions (dy and dx) over the pairs of a mask; 0 without any."""
    return torch.where(mask, errors, 0.0).sum() / (2 * mask.sum() + EPSILON)
