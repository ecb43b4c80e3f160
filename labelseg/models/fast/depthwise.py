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

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) as the plain layer does, to the same size; equal to it up to rounding."""
        dilation = self.dilation[0]
        has_gradient = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if not has_gradient or x.device.type != "cpu" or not _in_bfloat16(x):
            return super().forward(x)
        batch, channels, height, width = x.shape
        if max(height, width) <= _SMALL_GRID * dilation:
            return shifted_depthwise(x, self.weight, self.bias, dilation, _result_type(x))
        if dilation > _LARGEST_DILATION:
            return super().forward(x.contiguous())
        below, right = -height % dilation, -width % dilation
        rows, columns = (height + below) // dilation, (width + right) // dilation
        grids = F.pad(x, (0, right, 0, below)).permute(0, 2, 3, 1)  # channels last: cells move as wholes
        grids = grids.reshape(batch, rows, dilation, columns, dilation, channels).permute(0, 2, 4, 1, 3, 5)
        images = grids.reshape(batch * dilation * dilation, rows, columns, channels).permute(0, 3, 1, 2)
        images = F.conv2d(images, self.weight, self.bias, padding=1, groups=channels)
        grids = images.permute(0, 2, 3, 1).reshape(batch, dilation, dilation, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
        padded = grids.reshape(batch, rows * dilation, columns * dilation, channels).permute(0, 3, 1, 2)
        return padded[:, :, :height, :width]


def _result_type(x: Tensor) -> torch.dtype:
    """Type that a convolution of ``x`` has."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _in_bfloat16(x: Tensor) -> bool:
    """Whether a convolution of ``x`` is computed in bfloat16."""
    return _result_type(x) == torch.bfloat16


def replace_dilated_depthwise(root: nn.Module) -> None:
    """Replace every convolution below ``root`` that ``DilatedDepthwise`` can replace; names and parameters stay."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and DilatedDepthwise.can_replace(child):
                setattr(parent, name, DilatedDepthwise.like(child))
