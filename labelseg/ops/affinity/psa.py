"""Affinities between neighbouring features, the labels they are trained on, and the loss between the two.

Pairs are held in the padded form of ``labelseg.ops.affinity.pairs``: slot ``[k, y, x]`` is the pair of ``(y, x)`` and
``(y, x) + offsets[k]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from labelseg.class_ids import IGNORE
from labelseg.errors import UsageError
from labelseg.ops.affinity.pairs import Offset, pair_windows

EPSILON = 1e-5
RULES = ("psa", "irn")


class PairLabels(NamedTuple):
    """What is known of each pair; a pair in none of the three is neutral. Each is (B, n_offsets, h, w) bool."""

    background: Tensor
    foreground: Tensor
    different: Tensor


class AffinityLoss(NamedTuple):
    """The loss and its three terms, scalars."""

    loss: Tensor
    background: Tensor
    foreground: Tensor
    different: Tensor


def pair_affinities(features: Tensor, offsets: Sequence[Offset]) -> Tensor:
    """Measure how alike the features of each pair are: ``exp(-mean over channels of |f_i - f_j|)``.

    Works through one offset after the other, also in the backward pass, so that memory holds features and
    affinities but never the differences of all pairs.

    Args:
        features: (B, C, h, w) float.
        offsets: (dy, dx) of the partners.

    Returns:
        (B, n_offsets, h, w) float32 (float64 for float64 features) in (0, 1]; 0 where the partner is outside of the grid.

    Source: Ahn & Kwak 2018; the mean over channels is the published code's (spec psa 1.7, 2).
    """
    if features.dtype != torch.float64:
        features = features.float()  # the mean of hundreds of channels needs more than half precision
    return _PairAffinities.apply(features, tuple(offsets))


class _PairAffinities(torch.autograd.Function):
    """exp(-mean |f_i - f_j|) with a backward pass that computes the differences anew."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, offsets: tuple[Offset, ...]) -> Tensor:
        ctx.offsets = offsets
        rows = features.permute(0, 2, 3, 1).contiguous()  # (B, h, w, C): the mean runs over contiguous memory
        batch, h, w, channels = rows.shape
        affinities = features.new_zeros(batch, len(offsets), h, w)
        for part, result in zip(_cached_parts(rows), _cached_parts(affinities), strict=True):
            for k, offset in enumerate(offsets):
                start, partner = pair_windows((h, w), offset)
                distance = torch.linalg.vector_norm(part[:, *start] - part[:, *partner], ord=1, dim=-1) / channels
                result[:, k, *start] = torch.exp(-distance)
        ctx.save_for_backward(rows, affinities)
        return affinities

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows, affinities = ctx.saved_tensors
        slope = gradient * affinities / -rows.shape[-1]  # derivative with respect to the sum of |f_i - f_j|
        total = torch.zeros_like(rows)
        for part, factor, result in zip(_cached_parts(rows), _cached_parts(slope), _cached_parts(total), strict=True):
            for k, offset in enumerate(ctx.offsets):
                start, partner = pair_windows(rows.shape[1:3], offset)
                share = torch.sign(part[:, *start] - part[:, *partner]).mul_(factor[:, k, *start].unsqueeze(-1))
                result[:, *start] += share
                result[:, *partner] -= share
        return total.permute(0, 3, 1, 2), None


def _cached_parts(batch: Tensor) -> tuple[Tensor, ...]:
    """Split a batch into what is worked on at a time: one image on a CPU, whose caches hold no more, and all on other devices."""
    return batch.split(1 if batch.device.type == "cpu" else max(len(batch), 1))


def affinity_labels(low: NDArray[np.floating], high: NDArray[np.floating], *, rule: str = "psa") -> NDArray[np.uint8]:
    """Keep the labels that can be trusted from two readings of the same scores.

    Foreground is taken from the reading with much background, background from the one with little. Where the first sees a class and
    the second background, rule ``psa`` says background and rule ``irn`` the class; where the first sees background
    and the second a class, or where all scores vanish (padding), nobody knows.

    Args:
        low: (C + 1, h, w) scores at the low alpha, background first.
        high: (C + 1, h, w) scores at the high alpha, same classes.
        rule: One of ``RULES``.

    Returns:
        (h, w) uint8: position in the stack, 0 for background, 255 neutral.

    Source: published PSA code (spec psa 1.7); Ahn, Cho & Kwak 2019 (spec psa 3.2), whose rule is stated there for hard labels.
    """
    if rule not in RULES:
        raise UsageError(f"affinity label rule: expected one of {', '.join(RULES)}, got {rule!r}.")
    if low.shape != high.shape:
        raise UsageError(f"affinity labels: expected two stacks of one shape, got {low.shape} and {high.shape}.")
    labels = low.argmax(axis=0).astype(np.uint8)
    background = high.argmax(axis=0) == 0
    if rule == "irn":
        background &= labels == 0
    labels[labels == 0] = IGNORE
    labels[background] = 0
    labels[np.maximum(low.max(axis=0), high.max(axis=0)) < EPSILON] = IGNORE
    return labels


def pair_labels(labels: Tensor, offsets: Sequence[Offset], origins: Tensor | NDArray[np.bool_] | None = None) -> PairLabels:
    """Tell for each pair whether both cells are background, share a class, or differ.

    Args:
        labels: (B, h, w) integers, 0 background, 255 neutral.
        offsets: (dy, dx) of the partners.
        origins: (h, w) bool, the cells a pair may start from; None for all (see ``pairs.psa_origins``).

    Returns:
        Three masks of (B, n_offsets, h, w) bool.

    Source: published PSA code (spec psa 1.7).
    """
    batch, h, w = labels.shape
    masks = [torch.zeros(batch, len(offsets), h, w, dtype=torch.bool, device=labels.device) for _ in range(3)]
    allowed = None if origins is None else torch.as_tensor(origins, device=labels.device)
    for k, offset in enumerate(offsets):
        start, partner = pair_windows((h, w), offset)
        here, there = labels[:, *start], labels[:, *partner]
        known = (here != IGNORE) & (there != IGNORE)
        if allowed is not None:
            known &= allowed[start]
        same = known & (here == there)
        masks[0][:, k, *start] = same & (here == 0)
        masks[1][:, k, *start] = same & (here != 0)
        masks[2][:, k, *start] = known & (here != there)
    return PairLabels(*masks)


def affinity_loss(affinities: Tensor, pairs: PairLabels) -> AffinityLoss:
    """Ask high affinity of pairs that agree and low affinity of pairs that differ: L_bg / 4 + L_fg / 4 + L_neg / 2.

    Each term is the mean of its pairs over the whole batch, ``-ln(a + 1e-5)`` or ``-ln(1 + 1e-5 - a)``; a term without pairs is 0.

    Args:
        affinities: (B, n_offsets, h, w) in [0, 1].
        pairs: Masks of the same shape.

    Source: Ahn & Kwak 2018; weights and epsilons of the published code (spec psa 1.7).
    """
    attract, repel = -torch.log(affinities + EPSILON), -torch.log(1.0 + EPSILON - affinities)
    background = _masked_mean(attract, pairs.background)
    foreground = _masked_mean(attract, pairs.foreground)
    different = _masked_mean(repel, pairs.different)
    return AffinityLoss(background / 4 + foreground / 4 + different / 2, background, foreground, different)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average values where mask is True; 0 where it never is."""
    return torch.where(mask, values, 0.0).sum() / (mask.sum() + EPSILON)
