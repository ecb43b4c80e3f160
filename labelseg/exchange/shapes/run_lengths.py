"""Run lengths of COCO, by its own library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import MissingExtraError

FAR = 10  # sides of the image that a corner may lie away from it
LARGEST = 1e300  # JSON knows larger whole numbers than there are floats


def encode_runs(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Write a mask (H, W) uint8 of 0 and 1 as ``{"size": [H, W], "counts": text}``."""
    runs = coco_masks().encode(np.asfortranarray(mask))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode("ascii")}


def decode_shape(shape: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read what COCO says a region in: polygons, of which it is the union, or run lengths, written as text or as numbers.

    Args:
        shape: ``segmentation`` of an annotation.
        size: (H, W) of its image.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: it is no such thing, or the size is another one.
    """
    library = coco_masks()
    if isinstance(shape, list):
        if not shape or not all(isinstance(ring, list) and len(ring) >= 6 and all(map(_is_number, ring)) for ring in shape):
            raise ValueError("expected polygons of three corners or more")
        # The library walks along every side, pixel by pixel.
        if far := next((n for ring in shape for n in ring if not abs(n) <= FAR * max(size)), None):
            raise ValueError(f"expected corners in the image or near it, got one at {far:.3g}")
        return library.decode(library.merge(library.frPyObjects(shape, *size))).astype(bool)
    if not isinstance(shape, dict) or not isinstance(shape.get("size"), list) or not isinstance(shape.get("counts"), list | str):
        raise ValueError("expected polygons or run lengths")
    if tuple(shape["size"]) != size:
        raise ValueError(f"expected run lengths of an image of {size[0]} x {size[1]}, got {shape['size']}")
    counts = shape["counts"] if isinstance(shape["counts"], list) else _counts_of(shape["counts"])
    if not all(isinstance(n, int) and n >= 0 for n in counts) or sum(counts) != size[0] * size[1]:
        raise ValueError("expected run lengths that fill the image")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size, order="F")


def _counts_of(text: str) -> list[int]:
    """Read run lengths written as text: five bits a letter, from the third on as differences to the one before the last.

    The library would trust them, and write beyond the end of the mask.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("expected run lengths as text")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("expected run lengths as text, got some that end too early")
    return counts


def coco_masks() -> Any:
    """Return the module ``pycocotools.mask``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError("COCO needs pycocotools. Run: pip install 'labelseg[coco]'") from error
    return mask


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST
