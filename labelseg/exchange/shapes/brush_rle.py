"""The run lengths in which Label Studio keeps brushes.

Bits, the highest first: 32 for the number of values; 5 for the width of a value, less one; four times 4 for the widths that a count may
have, less one; then blocks of one bit (1: one value, repeated), two bits that choose the width of the count, the count less one, and the
value, or as many values as it says. The values are those of an image of four channels, red, green, blue, alpha; Label Studio looks at
alpha alone, and writes all four alike.

Source: ``label_studio_sdk.converter.brush`` and the package ``@thi.ng/rle-pack`` that it follows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHANNELS = 4
VALUE_BITS = 8
COUNT_BITS = (3, 4, 8, 16)


def encode_brush(region: NDArray[np.bool_]) -> list[int]:
    """Write a region (H, W) bool as the bytes of a brush, each in [0, 255]."""
    flat = region.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1]))) if flat.size else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    most = 1 << COUNT_BITS[-1]
    bits = [f"{flat.size * CHANNELS:032b}", f"{VALUE_BITS - 1:05b}", *(f"{width - 1:04b}" for width in COUNT_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = f"{255 if flat[start] else 0:08b}"
        while length:
            count = min(length, most)
            choice = next(number for number, width in enumerate(COUNT_BITS) if count <= 1 << width)
            bits.append(f"1{choice:02b}{count - 1:0{COUNT_BITS[choice]}b}{value}")
            length -= count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))


def decode_brush(data: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read the bytes of a brush.

    Args:
        data: Bytes, each in [0, 255].
        size: (H, W) of the image.

    Returns:
        (H, W) bool: where alpha is 128 or more.

    Raises:
        ValueError: it is no brush of that size.
    """
    bits = _Bits(bytes(data))
    expected, count = size[0] * size[1] * CHANNELS, bits.take(32)
    if count != expected:
        raise ValueError(f"expected the brush of an image of {size[0]} x {size[1]}, got {count:,} values in place of {expected:,}")
    width = bits.take(5) + 1
    widths = [bits.take(4) + 1 for _ in COUNT_BITS]
    values = np.zeros(count, np.int64)
    place = 0
    while place < count:
        repeated = bits.take(1)
        length = bits.take(widths[bits.take(2)]) + 1
        if place + length > count:
            raise ValueError(f"expected {count:,} values in a brush, got more")
        if repeated:
            values[place : place + length] = bits.take(width)
        else:
            values[place : place + length] = [bits.take(width) for _ in range(length)]
        place += length
    return values.reshape(*size, CHANNELS)[..., 3] >= 128


class _Bits:
    """Bits of some bytes, from the highest of the first on."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._place = 0

    def take(self, count: int) -> int:
        """Read the next ``count`` bits as a number."""
        text = self._text[self._place : self._place + count]
        if len(text) < count:
            raise ValueError("expected a brush, got one that ends too early")
        self._place += count
        return int(text, 2)
