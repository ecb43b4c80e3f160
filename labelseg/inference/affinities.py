"""Where the affinities of a walk come from: a network, features that are there, colours, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelseg.errors import DataError, UsageError
from labelseg.inference.predictor import Predictor
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.ops.affinity.cosine import cosine_affinities
from labelseg.ops.affinity.grid import block_mean
from labelseg.ops.affinity.pairs import Offset, pair_validity
from labelseg.ops.affinity.psa import pair_affinities


class Links(NamedTuple):
    """How the cells of an image are linked.

    Attributes:
        affinities: (n_offsets, h, w) float32 in [0, 1], padded form.
        boundary: (h, w) float32, the probability of a boundary in each cell, where the network predicts boundaries.
    """

    affinities: NDArray[np.float32]
    boundary: NDArray[np.float32] | None = None


class Features(NamedTuple):
    """Features of the places of an image.

    Attributes:
        values: (h, w, D) float; lengths do not count.
        stride: Pixels of the image between them.
    """

    values: NDArray[np.floating]
    stride: int

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Take them from an item of a stage that writes features: ``features`` (h, w, D) and ``stride`` ()."""
        return cls(arrays["features"], int(arrays["stride"]))

    def links(self, image: NDArray[np.uint8], offsets: Sequence[Offset]) -> Links:
        """Link the cells of an image (H, W, 3) by the cosines of their features: (n_offsets, h, w).

        Raises:
            DataError: there is not a feature for each cell of the image.
        """
        self.demand_grid((image.shape[0], image.shape[1]))
        return Links(cosine_affinities(self.values, offsets))

    def demand_grid(self, size: tuple[int, int]) -> None:
        """Demand a feature for each block of the stride that an image of (H, W) pixels begins.

        Raises:
            DataError: there are others.
        """
        found, expected = self.values.shape[:2], tuple(-(-side // self.stride) for side in size)
        if found != expected:
            raise DataError(
                f"features at a stride of {self.stride}: expected {expected[0]} x {expected[1]} for an image of "
                f"{size[0]} x {size[1]} pixels, got {found[0]} x {found[1]}."
            )


FindLinks = Callable[[NDArray[np.uint8]], Links]


def affinity_function(
    kind: str,
    net: AffinityNet | BoundaryNet | None,
    offsets: Sequence[Offset],
    *,
    device: str,
    precision: str = "32-true",
    flip: bool = False,
    colour_range: float = 20.0,
) -> tuple[FindLinks, int]:
    """Choose where the affinities of a walk come from.

    Args:
        kind: ``learned`` asks the network; ``colour`` compares the mean colours of cells; ``constant`` links all pairs alike.
        net: AffinityNet or BoundaryNet; unused unless learned.
        offsets: (dy, dx) of the partners.
        flip: Take the geometric mean with the affinities of the mirrored image.
        colour_range: Mean absolute difference, in grey levels, at which colour affinity is 1/e.

    Returns:
        A function from (H, W, 3) uint8 to the links of its cells, and the stride of the grid.
    """
    if kind == "constant":
        return lambda image: Links(pair_validity(grid_size(image, 8), offsets).astype(np.float32)), 8
    if kind == "colour":
        return lambda image: Links(colour_affinities(image, offsets, colour_range)), 8
    if net is None:
        raise UsageError("learned affinities: expected an affinity model, got none. Name one: labelseg propagate --affinity train-affinity")
    network, predictor = net, Predictor(net, device, precision)

    def learned(image: NDArray[np.uint8]) -> Links:
        outputs = torch.from_numpy(predictor.views(image, flip=flip))
        boundary = network.view_boundary(outputs).numpy() if isinstance(network, BoundaryNet) else None
        return Links(network.view_affinities(outputs, offsets).numpy(), boundary)

    return learned, network.stride


def colour_affinities(image: NDArray[np.uint8], offsets: Sequence[Offset], colour_range: float) -> NDArray[np.float32]:
    """Compare the mean colours of stride-8 cells: ``exp(-mean |difference| / colour_range)``; (n_offsets, h, w)."""
    cells = block_mean(image.transpose(2, 0, 1).astype(np.float32), 8) / np.float32(colour_range)
    return pair_affinities(torch.from_numpy(cells)[None], offsets)[0].numpy()


def grid_size(image: NDArray[np.uint8], stride: int) -> tuple[int, int]:
    """Count the cells of the grid of an image (H, W, 3): ceil(H / stride) rows and ceil(W / stride) columns."""
    return -(-image.shape[0] // stride), -(-image.shape[1] // stride)
