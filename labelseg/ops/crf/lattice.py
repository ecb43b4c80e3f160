"""Gaussian filtering of many points in few dimensions on the permutohedral lattice, in time linear in the points.

Values are splatted: each point shares its own among the d + 1 vertices of the simplex around it. They are blurred along each axis of the
lattice. And they are sliced: read back with the same weights. Only vertices around points exist; what the blur moves elsewhere is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelseg.ops.crf.compiled import compiled
from labelseg.ops.crf.simplices import enclosing_simplices, key_code

EMPTY = -1
POINTS_AT_ONCE = 1 << 15
FIRST_KEYS, FIRST_SLOTS = 1 << 14, 1 << 16
MULTIPLIER = np.int64(-7046029254386353131)


class Lattice(NamedTuple):
    """The vertices around n points in d dimensions.

    Attributes:
        vertex: (n, d + 1) uint32: vertices of the simplex around each point.
        weight: (n, d + 1) float32: share of each of them.
        neighbours: (d + 1, m, 2) uint32: next and last vertex along each axis; m where there is none.
    """

    vertex: NDArray[np.uint32]
    weight: NDArray[np.float32]
    neighbours: NDArray[np.uint32]

    @property
    def rows(self) -> int:
        """Rows of a table of this lattice: its vertices, and one that stays 0."""
        return self.neighbours.shape[1] + 1


def build_lattice(features: NDArray[np.float32]) -> Lattice:
    """Build the lattice around points.

    Args:
        features: (d, n), in standard deviations of the Gaussian.

    Raises:
        UsageError: The points are too many deviations apart to number the lattice between them.

    Source: Adams, Baek & Davis 2010; Krähenbühl & Koltun 2011.
    """
    d, n = features.shape
    factors, constant = key_code(features)
    steps = factors.sum() - (d + 1) * factors  # how a key changes with one step along each axis
    index, weight = np.empty((n, d + 1), np.uint32), np.empty((n, d + 1), np.float32)
    keys, slots, count = np.empty(FIRST_KEYS, np.int64), np.full(FIRST_SLOTS, EMPTY, np.int32), 0
    for start in range(0, n, POINTS_AT_ONCE):
        part = slice(start, start + POINTS_AT_ONCE)
        with _one_thread():
            simplices = enclosing_simplices(torch.from_numpy(features[:, part]))
        arrays = [array.numpy() for array in simplices]
        keys, slots, count = _number_vertices(*arrays, factors, steps, constant, keys, slots, count, index[part], weight[part])
    return Lattice(index, weight, _neighbours(keys[:count], slots, steps))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to the thread that asks: more of them wait for each other, spinning, for longer than they work where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@compiled
def _slot(key, keys, slots):
    """Find the slot of a vertex in the hash table, or the empty one where it belongs."""
    mask = len(slots) - 1
    mixed = key * MULTIPLIER
    slot = (mixed ^ (mixed >> 32)) & mask
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def _number_vertices(origin, residual, position, factors, steps, constant, keys, slots, count, index, weight):
    """Number the vertices of each simplex in order of appearance, and weigh them."""
    size, n = origin.shape
    axis, ascending = np.empty(size, np.int64), np.empty(size, np.float32)
    for p in range(n):
        if count + size > len(keys):
            keys, slots = _doubled(keys, slots, count)
        key = np.int64(constant)
        for j in range(size):
            axis[position[j, p]] = j
            ascending[position[j, p]] = residual[j, p]
            key += np.int64(origin[j, p]) * size * factors[j]
        for r in range(size):
            slot = _slot(key, keys, slots)
            if slots[slot] == EMPTY:
                keys[count] = key
                slots[slot] = count
                count += 1
            index[p, r] = slots[slot]
            weight[p, r] = ascending[r] - ascending[r - 1] if r else 1 + ascending[0] - ascending[size - 1]
            key += steps[axis[r]]
    return keys, slots, count


@compiled
def _doubled(keys, slots, count):
    """Make room for twice as many vertices."""
    more = np.empty(2 * len(keys), np.int64)
    wider = np.full(2 * len(slots), EMPTY, np.int32)
    for vertex in range(count):
        more[vertex] = keys[vertex]
        wider[_slot(keys[vertex], more, wider)] = vertex
    return more, wider


@compiled
def _neighbours(keys, slots, steps):
    """Find the vertices one step away along each axis."""
    size, count = len(steps), len(keys)
    neighbours = np.full((size, count, 2), count, np.uint32)
    for j in range(size):
        for vertex in range(count):
            other = slots[_slot(keys[vertex] + steps[j], keys, slots)]
            if other != EMPTY:
                neighbours[j, vertex, 0] = other
                neighbours[j, other, 1] = vertex
    return neighbours


@compiled
def blur(neighbours, table, spare):
    """Replace each vertex by itself plus half of both neighbours, along each axis in turn; the last row stays 0."""
    source, target = table, spare
    for j in range(len(neighbours)):
        for vertex in range(neighbours.shape[1]):
            own, after, before = source[vertex], source[neighbours[j, vertex, 0]], source[neighbours[j, vertex, 1]]
            blurred = target[vertex]
            for c in range(len(own)):
                blurred[c] = own[c] + np.float32(0.5) * (after[c] + before[c])
        source, target = target, source
    if len(neighbours) % 2:
        for vertex in range(len(table)):
            for c in range(table.shape[1]):
                table[vertex, c] = spare[vertex, c]


def lattice_filter(lattice: Lattice, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum values (n,) over points, weighted by the Gaussian of their distance, up to a constant factor."""
    table = np.zeros((lattice.rows, 1), np.float32)
    _splat(lattice.vertex, lattice.weight, values, table)
    blur(lattice.neighbours, table, np.zeros_like(table))
    return _slice(lattice.vertex, lattice.weight, table)


@compiled
def _splat(index, weight, values, table):
    """Add the values of points to their vertices."""
    for p in range(len(index)):
        for r in range(index.shape[1]):
            table[index[p, r], 0] += weight[p, r] * values[p]


@compiled
def _slice(index, weight, table):
    """Read back what the vertices around each point hold."""
    values = np.empty(len(index), np.float32)
    for p in range(len(index)):
        value = np.float32(0)
        for r in range(index.shape[1]):
            value += weight[p, r] * table[index[p, r], 0]
        values[p] = value
    return values
