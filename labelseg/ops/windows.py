"""Windows that cover an image, for networks that see one crop at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Span = tuple[int, int]


def window_spans(length: int, window: int, shifted: bool = True) -> list[Span]:
    """List the (start, end) of windows along one side: steps of two thirds of a window.

    Args:
        length: Of the side, pixels.
        window: Of the window, at least 2 pixels.
        shifted: Move a window that would cross the border back inside; else cut it off there, which leaves narrow windows.

    Source: Yang et al. 2023 (cut off) and 2025 (shifted); unimatch.md 1.7 and 6.
    """
    step = max(1, int(window * 2 / 3))
    if not shifted:
        return [(start, min(start + window, length)) for start in range(0, length, step)]
    last = max(0, length - window)
    starts = [start for start in range(0, length, step) if start < last]
    return [(start, min(start + window, length)) for start in (*starts, last)]


def sum_over_windows(image: Tensor, window: int, forward: Callable[[Tensor], Tensor], shifted: bool = True) -> Tensor:
    """Sum class probabilities over windows that cover an image.

    Args:
        image: (B, 3, H, W).
        window: Side of the square windows.
        forward: Maps a window (B, 3, h, w) to logits (B, C, h, w).
        shifted: As in ``window_spans``.

    Returns:
        (B, C, H, W); its largest class is the prediction.
    """
    total = None
    for top, bottom in window_spans(image.shape[2], window, shifted):
        for left, right in window_spans(image.shape[3], window, shifted):
            part = forward(image[:, :, top:bottom, left:right]).float().softmax(dim=1)
            if total is None:
                total = part.new_zeros(*part.shape[:2], *image.shape[2:])
            total[:, :, top:bottom, left:right] += part
    assert total is not None  # a side of at least one pixel has a window
    return total
