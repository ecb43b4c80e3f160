"""The choice of the pixels of one image, by any strategy, on a grid of stated size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label, maximum_filter

from labelseg.errors import DataError
from labelseg.inference.predictor import Predictor
from labelseg.ops.active.points import class_points, segment_points
from labelseg.ops.active.selector import first_class
from labelseg.ops.active.strategies import (
    chance_of_highest,
    chance_points,
    entropy,
    highest_points,
    mixed_uncertainty,
    narrowness,
    seeded,
)

if TYPE_CHECKING:
    from labelseg.methods.active.choice_params import Params

NO_GUESS = -1


@dataclass(frozen=True)
class Chosen:
    """Pixels of an image, in the order in which they were chosen.

    Attributes:
        places: (n, 2) rows and columns on the grid.
        guesses: (n,) class ids, -1 where there is none.
        extra: Further arrays to keep.
    """

    places: NDArray[np.int64]
    guesses: NDArray[np.int64]
    extra: dict[str, NDArray[Any]]


def grid_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Compute the size (H, W) of the grid: that of the image, or smaller so that the longer side is ``side``; 0 keeps it."""
    if side == 0 or side >= max(size):
        return size
    height, width = (max(1, round(length * side / max(size))) for length in size)
    return height, width


def on_grid(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image (H, W, 3) to the grid, bicubically."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def in_image(places: NDArray[np.int64], grid: tuple[int, int], size: tuple[int, int]) -> NDArray[np.int32]:
    """Find the pixel of the image in which the middle of each cell lies; different cells lie in different pixels.

    Args:
        places: (n, 2) rows and columns on the grid.
        grid: (h, w), no larger than the image.
        size: (H, W) of the image.

    Returns:
        (n, 2) int32.
    """
    middles = (2 * places + 1) * np.array(size) // (2 * np.array(grid))
    return np.minimum(middles, np.array(size) - 1).astype(np.int32).reshape(-1, 2)


def choose(
    image_id: str, image: NDArray[np.uint8], params: Params, predictor: Predictor | None, asked: NDArray[np.uint8] | None, count: int
) -> dict[str, NDArray[Any]]:
    """Choose the pixels of an image that are asked in a round.

    Args:
        image_id: Its id, which seeds what is left to chance.
        image: (H, W, 3) uint8.
        params: Strategy, budget and grid.
        predictor: The selector, which gives the logits of both heads, or the segmenter; None for chance.
        asked: (h, w) uint8 on the grid: the round in which each pixel was asked, 0 for none yet; None before the first round.
        count: Points of this round, for strategies that take a number.

    Returns:
        ``points`` int32 (n, 2) rows and columns in the image, ``guesses`` int16 (n,), ``asked`` uint8 (h, w) with those of this round,
        ``image_size`` int32 (2,); of the selector's strategies ``inconsistent`` uint8 (h, w), of SPL ``regions`` int32 (n,),
        of PPL ``similarity`` float32 (n,), ``sizes`` int32 (n,) and ``prototypes`` float32 (n, K) too.

    Raises:
        DataError: the grid is another one than that of the round before.
    """
    size = image.shape[0], image.shape[1]
    grid = grid_size(size, params.grid)
    asked = np.zeros(grid, np.uint8) if asked is None else asked
    if asked.shape != grid:
        raise DataError(
            f"labor-select for {image_id}: the grid is {_by(grid)} pixels, that of {params.previous} {_by(asked.shape)}. "
            "Rounds share one grid: give all the same --grid"
        )
    left = max(params.cap - int((asked > 0).sum()), 0) if params.cap and params.strategy != "spl" else None
    free = asked == 0
    logits = None if predictor is None else predictor.views(on_grid(image, grid))
    if params.strategy in ("ppl", "spl"):
        assert logits is not None  # both read the selector
        chosen = _by_inconsistency(logits, free, params, left)
    else:
        number = count if left is None else min(count, left)
        chosen = _by_number(image_id, None if logits is None else logits[0], free, params, number)
    now = asked.copy()
    now[chosen.places[:, 0], chosen.places[:, 1]] = params.round
    return {
        "points": in_image(chosen.places, grid, size),
        "guesses": chosen.guesses.astype(np.int16),
        "asked": now,
        "image_size": np.array(size, np.int32),
        **chosen.extra,
    }


def _by_inconsistency(logits: NDArray[np.float32], free: NDArray[np.bool_], params: Params, left: int | None) -> Chosen:
    """Choose where both heads (2, K, h, w) disagree: all of it, or a point a class."""
    first, second = torch.from_numpy(logits)
    mask = first_class(first) != first_class(second)
    one, two = (heads.double().softmax(dim=0).numpy() for heads in (first, second))
    mean = (one + two) / 2
    extra: dict[str, NDArray[Any]] = {"inconsistent": mask.astype(np.uint8)}
    if params.strategy == "spl":
        most = int(params.spl_max_fraction * mask.size) if params.spl_max_fraction else None
        places = segment_points(mask, ~free, np.abs(one - two).sum(axis=0), most)
        extra["regions"] = regions_of(places, free.shape)
        return Chosen(places, mean.argmax(axis=0)[places[:, 0], places[:, 1]], extra)
    found = class_points(mean, mask & free, params.similarity, left)  # type: ignore[arg-type]
    extra |= {
        "similarity": found.similarity.astype(np.float32),
        "sizes": found.sizes.astype(np.int32),
        "prototypes": found.prototypes.astype(np.float32),
    }
    return Chosen(found.places, found.classes, extra)


def regions_of(places: NDArray[np.int64], size: tuple[int, ...]) -> NDArray[np.int32]:
    """Number the connected pieces of chosen pixels, corners connect, so that a person can be asked about a piece at once.

    Args:
        places: (n, 2) rows and columns.
        size: (h, w) of the grid.

    Returns:
        (n,) int32, the piece of each pixel, from 0.
    """
    chosen = np.zeros(size, bool)
    chosen[places[:, 0], places[:, 1]] = True
    pieces, _ = label(chosen, np.ones((3, 3)))
    return (pieces[places[:, 0], places[:, 1]] - 1).astype(np.int32)


def _by_number(image_id: str, logits: NDArray[np.float32] | None, free: NDArray[np.bool_], params: Params, count: int) -> Chosen:
    """Choose a number of pixels by chance or by what the segmenter (K, h, w) says."""
    rng = seeded(params.seed, image_id, params.round)
    if logits is None:
        places = chance_points(free, count, rng)
        return Chosen(places, np.full(len(places), NO_GUESS), {})
    p = torch.from_numpy(logits).double().softmax(dim=0).numpy()
    if params.strategy == "entropy":
        places = highest_points(entropy(p), free, count)
    elif params.strategy == "margin":
        places = highest_points(narrowness(p), free, count)
    elif params.strategy == "pixelpick":
        places = chance_of_highest(narrowness(p), free, count, params.top, rng)
    else:
        near = maximum_filter(~free, size=2 * params.region + 1) if params.region else ~free
        places = highest_points(mixed_uncertainty(p, params.region), ~near, count, params.region)
    return Chosen(places, p.argmax(axis=0)[places[:, 0], places[:, 1]], {})


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
