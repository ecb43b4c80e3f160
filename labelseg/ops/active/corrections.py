"""Masks corrected by answers to single pixels, and the pixels that are worth a question for that.

Source: ours. Answers travel along the image, as seeds of a random walk do, but only to pixels that the mask takes for the same thing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

NO_GROUP = -1


def correct_mask(
    mask: NDArray[np.uint8],
    image: NDArray[np.uint8],
    points: NDArray[np.integer],
    labels: NDArray[np.uint8],
    reach: float,
    colour: float,
) -> NDArray[np.uint8]:
    """Give pixels near an answer its class, where the mask takes them for the same thing as the pixel that was asked.

    From each point a path goes over neighbours (up, down, left, right) that have one class in the mask. A step costs 1, and ``colour``
    times the mean difference of its ends' colours. A pixel takes the answer of the point from which it is cheapest to get to, where that
    costs at most ``reach``; of one of them where several cost the same. An answer that agrees with the mask spreads likewise, and so
    keeps others away. The pixel that was asked has what was answered, whatever is near it.

    Args:
        mask: (H, W) class ids, 255 = ignore.
        image: (H, W, 3).
        points: (n, 2) rows and columns, each pixel once.
        labels: (n,) class ids that were answered.
        reach: Cost of the longest path; 0 corrects the pixels asked alone.
        colour: Cost of a step from black to white, in steps; 0 looks at the mask alone.

    Returns:
        (H, W), a copy.
    """
    corrected = mask.copy()
    if len(points) == 0:
        return corrected
    asked = np.ravel_multi_index((points[:, 0], points[:, 1]), mask.shape)
    if reach > 0:
        costs, _, sources = dijkstra(
            _steps(mask, image, colour), indices=asked, min_only=True, limit=reach, return_predecessors=True
        )  # the limit keeps it to the surroundings of the points
        reached = np.isfinite(costs)
        said = np.zeros(mask.size, np.uint8)
        said[asked] = labels
        corrected.ravel()[reached] = said[sources[reached]]
    corrected.ravel()[asked] = labels
    return corrected


def _steps(mask: NDArray[np.uint8], image: NDArray[np.uint8], colour: float) -> csr_array:
    """List the steps between neighbours of one class with their costs: (H * W, H * W), symmetric."""
    height, width = mask.shape
    number = np.arange(height * width).reshape(height, width)
    shades = image.astype(np.int64)
    rows, columns, costs = [], [], []
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        alike = mask[first] == mask[second]
        cost = 1 + colour * np.abs(shades[first] - shades[second]).sum(axis=2) / (255 * image.shape[2])
        rows.append(number[first][alike])
        columns.append(number[second][alike])
        costs.append(cost[alike])
    one, other, cost = (np.concatenate(parts) for parts in (rows, columns, costs))
    there = (np.concatenate([cost, cost]), (np.concatenate([one, other]), np.concatenate([other, one])))
    return csr_array(there, shape=(height * width, height * width))


def disagreement(mask: NDArray[np.uint8], other: NDArray[np.uint8], ignore: int = 255) -> NDArray[np.int32]:
    """Number the pairs of classes that two masks give to the pixels on which they disagree.

    Args:
        mask, other: (H, W) class ids; where either is ``ignore`` nothing is said.

    Returns:
        (H, W) int32, -1 where they agree.
    """
    apart = (mask != other) & (mask != ignore) & (other != ignore)
    return np.where(apart, mask.astype(np.int32) * 256 + other, NO_GROUP).astype(np.int32)


def doubtful(mask: NDArray[np.uint8], confidence: NDArray[np.floating], share: float) -> NDArray[np.int32]:
    """Number the pixels of least confidence by their class in the mask.

    Args:
        mask: (H, W) class ids.
        confidence: (H, W).
        share: Of the pixels, which count as doubtful; those that are as sure as the last of them are left out.

    Returns:
        (H, W) int32, -1 elsewhere.
    """
    limit = np.quantile(confidence.astype(np.float64), share)
    return np.where(confidence < limit, mask.astype(np.int32), NO_GROUP).astype(np.int32)


def widest_points(groups: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Choose pixels in the middle of the widest places of groups: a click there is the easiest to answer, and tells of the most pixels.

    A chosen pixel takes the disc around it that fits into its group out of the group.

    Args:
        groups: (H, W) number of the group of each pixel, negative where it is in none.
        count: How many; fewer where nothing is left.

    Returns:
        (n, 2) int64 rows and columns, the widest place first; the first in row-major order among equals.
    """
    left = np.array(groups)
    widths = np.zeros(left.shape)
    for group in np.unique(left[left >= 0]):
        own = left == group
        widths[own] = _depths(own)[own]
    rows, columns = np.ogrid[: left.shape[0], : left.shape[1]]
    found: list[tuple[int, int]] = []
    while len(found) < count and widths.any():
        row, column = (int(place) for place in np.unravel_index(int(widths.argmax()), widths.shape))
        found.append((row, column))
        group, radius = left[row, column], widths[row, column]
        left[(left == group) & ((rows - row) ** 2 + (columns - column) ** 2 < radius**2)] = NO_GROUP
        own = left == group
        widths[(left < 0)] = 0
        widths[own] = _depths(own)[own]
    return np.array(found, np.int64).reshape(-1, 2)


def _depths(own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Measure how far each pixel of a group lies from the nearest one outside, beyond the border of the image too."""
    return distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
