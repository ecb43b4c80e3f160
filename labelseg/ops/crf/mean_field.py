"""Mean-field inference in a dense CRF, on the lattices of its kernels, for several stacks of labels at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelseg.ops.crf.compiled import compiled
from labelseg.ops.crf.lattice import Lattice, blur, lattice_filter

PIXELS_AT_ONCE = 512
SHORT = 4  # channels below which a loop over them is not worth its start
LOWEST = np.float32(-87)
LOG2_E = np.float32(1.44269504)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)


class Kernel(NamedTuple):
    """A Gaussian kernel K over the pixels of an image, normalised: D^-1/2 K D^-1/2 with D = K·1.

    Attributes:
        lattice: Its weights hold D^-1/2, so that filtering normalises.
        received: (n,) float32: the normalised kernel applied to 1.
    """

    lattice: Lattice
    received: NDArray[np.float32]


class Exchange(NamedTuple):
    """What pixels send through a kernel and receive from it: both tables are (rows, channels)."""

    vertex: NDArray[np.uint32]
    weight: NDArray[np.float32]
    sent: NDArray[np.float32]
    received: NDArray[np.float32]


def normalized_kernel(lattice: Lattice) -> Kernel:
    """Normalise the kernel of a lattice symmetrically; any constant factor of its filter cancels."""
    ones = np.ones(len(lattice.vertex), np.float32)
    root = 1 / np.sqrt(lattice_filter(lattice, ones) + np.float32(1e-20))
    scaled = lattice._replace(weight=lattice.weight * root[:, None])
    return Kernel(scaled, lattice_filter(scaled, ones))


def mean_field(
    priors: NDArray[np.float32],
    sizes: Sequence[int],
    appearance: Kernel,
    smoothness: Kernel,
    weights: tuple[float, float],
    iterations: int,
    tolerance: float = 0.0,
) -> NDArray[np.float32]:
    """Minimise the free energy of independent labels: ``Q <- softmax(P + sum of w K Q)``, from ``softmax(P)``.

    Args:
        priors: (L, n) float32 log-probabilities P, up to a constant a pixel: the labels of all stacks, one stack after the other.
        sizes: Number of labels of each stack; they sum to L.
        appearance: Kernel in 5 dimensions.
        smoothness: Kernel in 2 dimensions.
        weights: Potts penalties of the two.
        iterations: Updates.
        tolerance: Stop when the largest change of an update, times the updates left, is at most this; 0 does all of them.

    Returns:
        (L, n) float32 marginals; those of each stack sum to 1.
    """
    labels, channels = np.asarray(sizes, dtype=np.int64), _padded(len(priors) - len(sizes))
    kernels = (appearance, smoothness)
    received = np.float32(weights[0]) * appearance.received + np.float32(weights[1]) * smoothness.received
    tables = [np.zeros((2, kernel.lattice.rows, channels), np.float32) for kernel in kernels]
    ways = [Exchange(kernel.lattice.vertex, kernel.lattice.weight, *table) for kernel, table in zip(kernels, tables, strict=True)]
    marginals = np.zeros_like(priors)
    _update(priors, labels, max(sizes), *ways, received, marginals, False, iterations > 0, iterations <= 0 or tolerance > 0)
    for left in range(iterations - 1, -1, -1):
        for kernel, weight, way in zip(kernels, weights, ways, strict=True):
            blur(kernel.lattice.neighbours, way.sent, way.received)
            np.multiply(way.sent, np.float32(weight), out=way.received)
            way.sent.fill(0)
        change = _update(priors, labels, max(sizes), *ways, received, marginals, True, left > 0, left == 0 or tolerance > 0)
        if tolerance > 0 and change.max() * left <= tolerance:
            break
    return marginals


def _padded(channels: int) -> int:
    """Widen rows to what fills vector instructions, unless they are short."""
    return channels if channels < SHORT else -(-channels // 8) * 8


@compiled
def _update(priors, labels, most, appearance, smoothness, everything, marginals, receive, send, keep):
    """Compute all marginals anew from what pixels received, send them, keep them, and return their largest changes."""
    messages = np.zeros((PIXELS_AT_ONCE, appearance.sent.shape[1]), np.float32)
    beliefs = np.zeros((most, PIXELS_AT_ONCE), np.float32)
    change = np.zeros(PIXELS_AT_ONCE, np.float32)
    highest, total = np.empty(PIXELS_AT_ONCE, np.float32), np.empty(PIXELS_AT_ONCE, np.float32)
    for start in range(0, priors.shape[1], PIXELS_AT_ONCE):
        stop = min(start + PIXELS_AT_ONCE, priors.shape[1])
        here = stop - start
        if receive:
            _receive(appearance, smoothness, start, stop, messages)
        else:
            messages.fill(0)
        first, channel = 0, 0
        for count in labels:
            # The marginals of a stack sum to 1, so what its last label receives follows from the others: that one is never sent.
            last = beliefs[count - 1]
            for p in range(here):
                last[p] = everything[start + p] if receive else np.float32(0)
            for label in range(count - 1):
                row = beliefs[label]
                for p in range(here):
                    row[p] = messages[p, channel + label]
                for p in range(here):
                    last[p] -= row[p]
            # Softmax over the labels of the stack.
            highest.fill(-np.inf)
            for label in range(count):
                row, prior = beliefs[label], priors[first + label, start:stop]
                for p in range(here):
                    row[p] += prior[p]
                    highest[p] = row[p] if row[p] > highest[p] else highest[p]
            total.fill(0)
            for label in range(count):
                row = beliefs[label]
                for p in range(here):
                    row[p] = _exponential(row[p] - highest[p])
                    total[p] += row[p]
            for p in range(here):
                total[p] = np.float32(1) / total[p]
            for label in range(count - 1):
                row = beliefs[label]
                for p in range(here):
                    messages[p, channel + label] = row[p] * total[p]
            for label in range(count if keep else 0):
                row, kept = beliefs[label], marginals[first + label, start:stop]
                for p in range(here):
                    belief = row[p] * total[p]
                    step = abs(belief - kept[p])
                    change[p] = step if step > change[p] else change[p]
                    kept[p] = belief
            first += count
            channel += count - 1
        if send:
            _send(appearance, smoothness, start, stop, messages)
    return change


@compiled
def _receive(appearance, smoothness, start, stop, messages):
    """Sum what the vertices around pixels hold, of both kernels."""
    # All nine terms are written out, so that a sum stays in registers.
    a, s = appearance.received, smoothness.received
    for p in range(start, stop):
        i, u = appearance.vertex[p], appearance.weight[p]
        j, v = smoothness.vertex[p], smoothness.weight[p]
        a0, a1, a2, a3, a4, a5 = a[i[0]], a[i[1]], a[i[2]], a[i[3]], a[i[4]], a[i[5]]
        u0, u1, u2, u3, u4, u5 = u[0], u[1], u[2], u[3], u[4], u[5]
        s0, s1, s2 = s[j[0]], s[j[1]], s[j[2]]
        v0, v1, v2 = v[0], v[1], v[2]
        row = messages[p - start]
        for c in range(len(row)):
            row[c] = (
                u0 * a0[c] + u1 * a1[c] + u2 * a2[c] + u3 * a3[c] + u4 * a4[c] + u5 * a5[c]
                + v0 * s0[c] + v1 * s1[c] + v2 * s2[c]
            )  # fmt: skip


@compiled
def _send(appearance, smoothness, start, stop, messages):
    """Add messages to the vertices around pixels, of both kernels."""
    if messages.shape[1] >= SHORT:
        _send_rows(appearance.vertex[start:stop], appearance.weight[start:stop], messages, appearance.sent)
        _send_rows(smoothness.vertex[start:stop], smoothness.weight[start:stop], messages, smoothness.sent)
        return
    a, s = appearance.sent, smoothness.sent
    i, u = appearance.vertex[start:stop], appearance.weight[start:stop]
    j, v = smoothness.vertex[start:stop], smoothness.weight[start:stop]
    for p in range(stop - start):
        for c in range(messages.shape[1]):
            message = messages[p, c]
            for r in range(6):
                a[i[p, r], c] += u[p, r] * message
            for r in range(3):
                s[j[p, r], c] += v[p, r] * message


@compiled
def _send_rows(index, weight, messages, sent):
    """Add long messages to the vertices around pixels: row by row."""
    for p in range(len(index)):
        row = messages[p]
        for r in range(index.shape[1]):
            share, vertex = weight[p, r], sent[index[p, r]]
            for c in range(len(row)):
                vertex[c] += share * row[c]


@compiled
def _exponential(x):
    """Exponential of a number up to 0, to some 2 units in the last place; written out because loops over it become vector instructions."""
    x = x if x > LOWEST else LOWEST
    whole = np.floor(x * LOG2_E + np.float32(0.5))
    rest = x - whole * LN2_HIGH - whole * LN2_LOW
    power = np.float32(1.9875691500e-4)
    power = power * rest + np.float32(1.3981999507e-3)
    power = power * rest + np.float32(8.3334519073e-3)
    power = power * rest + np.float32(4.1665795894e-2)
    power = power * rest + np.float32(1.6666665459e-1)
    power = power * rest + np.float32(5.0000001201e-1)
    power = power * rest * rest + rest + np.float32(1)
    return power * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
