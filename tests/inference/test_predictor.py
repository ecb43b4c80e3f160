"""Affinities of a walk from the network, from colours and from nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelseg.data.augment.transforms import normalize
from labelseg.errors import UsageError
from labelseg.inference.affinities import affinity_function
from labelseg.models.affinity_net import AffinityNet
from labelseg.models.encoders.registry import build_backbone
from labelseg.ops.affinity.pairs import pair_offsets

OFFSETS = pair_offsets(3)
IMAGE = np.random.default_rng(0).integers(0, 256, (37, 45, 3), dtype=np.uint8)


def in_loops(value, height, width):
    """Fill (n_offsets, h, w) pair by pair; 0 where the partner is off the grid."""
    found = np.zeros((len(OFFSETS), height, width), np.float32)
    for k, (dy, dx) in enumerate(OFFSETS):
        for y in range(height):
            for x in range(width):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    found[k, y, x] = value((y, x), (y + dy, x + dx))
    return found


def test_constant_affinity_links_all_pairs_alike():
    find_links, stride = affinity_function("constant", None, OFFSETS, device="cpu")
    assert stride == 8
    np.testing.assert_array_equal(find_links(IMAGE).affinities, in_loops(lambda one, other: 1, 5, 6))


@pytest.mark.parametrize("colour_range", [20.0, 55.0])
def test_colour_affinity_compares_the_mean_colours_of_cells(colour_range):
    def mean(cell):
        y, x = cell
        return IMAGE[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].reshape(-1, 3).astype(float).mean(axis=0)

    expected = in_loops(lambda one, other: np.exp(-np.abs(mean(one) - mean(other)).mean() / colour_range), 5, 6)
    find_links, stride = affinity_function("colour", None, OFFSETS, device="cpu", colour_range=colour_range)
    assert stride == 8
    np.testing.assert_allclose(find_links(IMAGE).affinities, expected, rtol=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_learned_affinity_is_that_of_the_features(flip):
    torch.manual_seed(0)
    net = AffinityNet(build_backbone("tiny", 16), (8, 8, 8), "group").eval()
    views = [torch.from_numpy(normalize(picture))[None] for picture in (IMAGE, IMAGE[:, ::-1])]
    with torch.no_grad():
        features = [net(views[0])[0], net(views[1])[0].flip(-1)]
    _, height, width = features[0].shape

    def distance(one, other):
        return [float((f[:, one[0], one[1]] - f[:, other[0], other[1]]).abs().mean()) for f in features[: 1 + flip]]

    expected = in_loops(lambda one, other: np.exp(-np.mean(distance(one, other))), height, width)
    find_links, stride = affinity_function("learned", net, OFFSETS, device="cpu", flip=flip)
    assert stride == net.stride
    np.testing.assert_allclose(find_links(IMAGE).affinities, expected, rtol=1e-3, atol=1e-5)
    assert expected.min() < 0.99 * expected.max()


def test_learned_affinity_needs_a_network():
    with pytest.raises(UsageError, match=r"expected an affinity model, got none\. Name one"):
        affinity_function("learned", None, OFFSETS, device="cpu")
