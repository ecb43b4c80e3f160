"""Depthwise convolutions of dilation 2 and more, trained at the speed of undilated ones on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.models.fast.shifted_depthwise import shifted_depthwise

_LARGEST_DILATION = 8
_SMALL_GRID = 2  # cells a side


class DilatedDepthwise(nn.Conv2d):
    """A 3x3 depthwise convolution of stride 1 with ``padding == dilation``, equal to ``nn.Conv2d`` up to rounding.

    oneDNN has no fast backward pass for these in bfloat16: 43 ms for (8, 960, 20, 20) at dilation 2, where the undilated one takes
    1.4 ms. Dilation d is d * d undilated convolutions, each of every d-th row and column. So where gradients are wanted on a
    CPU in bfloat16, the cells of each such grid are brought together, and the grids become further images of the batch
    (2.2 ms). Grids of two cells a side and fewer cost more than is gained: there most taps lie outside of the map, and shifted
    products take a fraction (12 against 96 ms for (8, 1280, 12, 12) at dilation 6, one thread). What is left, a dilation beyond 8 on
    a large map, is fastest in the channels-first layout.
    """

    @classmethod
    def can_replace(cls, module: nn.Module) -> bool:
        """Whether this class can replace the module."""
        return (
            type(module) is nn.Conv2d
            and module.kernel_size == (3, 3)
            and module.stride == (1, 1)
            and module.groups == module.in_channels == module.out_channels
            and module.padding == module.dilation
            and module.dilation[0] == module.dilation[1] > 1
            and module.padding_mode == "zeros"
        )

    @classmethod
    def like(cls, conv: nn.Conv2d) -> DilatedDepthwise:
        """Make one that shares the parameters of ``conv``."""
        channels, dilation = conv.in_channels, conv.dilation[0]
        own = cls(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=conv.bias is not None, device="meta")
        own.weight, own.bias = conv.weight, conv.bias
        return own

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve (B, C, H, W) as the plain layer does, to the same size; equal to it up to rounding."""
        dilation = self.dilation[0]
        has_gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        if not has_gradient or x.device.type != "cpu" or not _in_bfloat16(x):
            return super()._conv_forward(x, weight, bias)
        height, width = x.shape[2:]
        if max(height, width) <= _SMALL_GRID * dilation:
            return shifted_depthwise(x, weight, bias, dilation, result_type(x))
        if dilation > _LARGEST_DILATION:
            return super()._conv_forward(x.contiguous(), weight, bias)
        images = F.conv2d(grids_as_images(x, dilation), weight, bias, padding=1, groups=x.shape[1])
        return images_as_grids(images, dilation, height, width)

    @staticmethod
    def takes_grids(x: Tensor, dilation: int) -> bool:
        """Whether maps (B, C, H, W) are large enough for a dilation to be brought to grids."""
        return dilation <= _LARGEST_DILATION and max(x.shape[2:]) > _SMALL_GRID * dilation


def grids_as_images(x: Tensor, step: int) -> Tensor:
    """Make each grid of every ``step``-th row and column of (B, C, H, W) an image: (B * step * step, C, ceil(H / step), ceil(W / step))."""
    batch, channels, height, width = x.shape
    below, right = -height % step, -width % step
    rows, columns = (height + below) // step, (width + right) // step
    grids = F.pad(x, (0, right, 0, below)).permute(0, 2, 3, 1)  # channels last: cells move as wholes
    grids = grids.reshape(batch, rows, step, columns, step, channels).permute(0, 2, 4, 1, 3, 5)
    return grids.reshape(batch * step * step, rows, columns, channels).permute(0, 3, 1, 2)


def images_as_grids(images: Tensor, step: int, height: int, width: int) -> Tensor:
    """Undo ``grids_as_images``: (B * step * step, C, h, w) to (B, C, height, width)."""
    batch, channels, rows, columns = len(images) // step**2, *images.shape[1:]
    grids = images.permute(0, 2, 3, 1).reshape(batch, step, step, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return grids.reshape(batch, rows * step, columns * step, channels).permute(0, 3, 1, 2)[:, :, :height, :width]


def result_type(x: Tensor) -> torch.dtype:
    """Type that a convolution of maps (B, C, H, W) has."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _in_bfloat16(x: Tensor) -> bool:
    """Whether a convolution of ``x`` is computed in bfloat16."""
    return result_type(x) == torch.bfloat16


def replace_dilated_depthwise(root: nn.Module) -> None:
    """Replace every convolution below ``root`` that ``DilatedDepthwise`` can replace; names and parameters stay."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and DilatedDepthwise.can_replace(child):
                setattr(parent, name, DilatedDepthwise.like(child))
