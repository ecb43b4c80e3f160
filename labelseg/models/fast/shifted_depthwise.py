"""A 3x3 depthwise convolution as nine shifted products, for dilations so large that most of its taps lie outside of the map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Window = tuple[slice, slice, slice]


class ShiftedDepthwise(torch.autograd.Function):
    """Computes ``F.conv2d(x, weight, padding=d, dilation=d, groups=C)`` of (B, C, H, W) with (C, 1, 3, 3), and its gradients.

    Each tap is the product of the part of the map that it sees with one weight a channel: B C H W operations for the middle one,
    fewer for the others, none for those outside of the map. Sums are taken in float32 at least, in the order of the taps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int, dtype: torch.dtype) -> Tensor:  # type: ignore[override]
        """Convolve (B, C, H, W) with weights (C, 1, 3, 3); (B, C, H, W) of the dtype."""
        cells, taps = _channels_last(x), _taps(weight)
        result = cells * taps[1, 1]
        for row, column, own, other in _neighbours(x.shape[2], x.shape[3], dilation):
            result[own].addcmul_(cells[other], taps[row, column])
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return result.permute(0, 3, 1, 2).to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        """Derive the gradients of the map (B, C, H, W) and of the weights (C, 1, 3, 3) from that of the result (B, C, H, W)."""
        x, weight = ctx.saved_tensors
        cells, taps, towards = _channels_last(x), _taps(weight), _channels_last(gradient)
        of_cells, of_taps = towards * taps[1, 1], torch.zeros_like(taps)
        of_taps[1, 1] = (cells * towards).sum(dim=(0, 1, 2))
        for row, column, own, other in _neighbours(x.shape[2], x.shape[3], ctx.dilation):
            of_cells[other].addcmul_(towards[own], taps[row, column])
            of_taps[row, column] = (cells[other] * towards[own]).sum(dim=(0, 1, 2))
        return of_cells.permute(0, 3, 1, 2).to(x.dtype), of_taps.permute(2, 0, 1)[:, None].to(weight.dtype), None, None


def shifted_depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, dtype: torch.dtype) -> Tensor:
    """Convolve each channel with its own 3x3 weights, zeros around the map.

    Args:
        x: (B, C, H, W) floating.
        weight: (C, 1, 3, 3).
        bias: (C,) or None.
        dilation: Distance of the taps; also the padding.
        dtype: Of the result.

    Returns:
        (B, C, H, W), equal to ``F.conv2d`` up to rounding.
    """
    result = ShiftedDepthwise.apply(x, weight, dilation, dtype)
    return result if bias is None else result + bias.to(dtype)[:, None, None]


def _channels_last(x: Tensor) -> Tensor:
    """Bring (B, C, H, W) to (B, H, W, C), in float32 at least."""
    return x.permute(0, 2, 3, 1).to(torch.promote_types(x.dtype, torch.float32)).contiguous()


def _taps(weight: Tensor) -> Tensor:
    """Bring (C, 1, 3, 3) to (3, 3, C), in float32 at least."""
    return weight[:, 0].permute(1, 2, 0).to(torch.promote_types(weight.dtype, torch.float32)).contiguous()


def _neighbours(height: int, width: int, dilation: int) -> Iterator[tuple[int, int, Window, Window]]:
    """List the outer taps that see some of a map: row, column, the cells that see another one, and these others."""
    every = slice(None)
    for row in range(3):
        for column in range(3):
            down, right = (row - 1) * dilation, (column - 1) * dilation
            if (row, column) == (1, 1) or abs(down) >= height or abs(right) >= width:
                continue
            own, other = (
                (slice(max(0, -sign * down), height - max(0, sign * down)), slice(max(0, -sign * right), width - max(0, sign * right)))
                for sign in (1, -1)
            )
            yield row, column, (every, *own), (every, *other)
