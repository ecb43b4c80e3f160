"""Convolution, fixed batch normalisation and rectifier as one layer: what networks spend most of their time on are passes over memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from labelseg.models.fast.depthwise import DilatedDepthwise, grids_as_images, images_as_grids, result_type
from labelseg.models.fast.pointwise import DirectPointwise


class FoldingSequential(nn.Sequential):
    """A sequence of layers that computes a convolution, a fixed BatchNorm2d and a rectifier behind it at once; equal up to rounding.

    Where statistics and affine parameters are fixed, ``bn(conv(x))`` is a convolution with weights ``g * w``, where
    ``g = gamma / sqrt(v + eps)``, through which the gradient of ``w`` passes as well. It saves reading and writing the map twice
    forward and twice backward, and the copy that in-place ReLU6 keeps: an update of MobileNetV2 on 16 images of 320 x 320, one thread,
    falls from 2.5 to 1.6 s in float32 and from 1.5 to 0.8 s in bfloat16. A BatchNorm that learns is left as it is, and so is
    everything off the CPU. For inference, where ``fold_batchnorm`` left convolution, nothing and rectifier, maps of an image at four
    scales fall from .34 to .20 s in bfloat16.
    """

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Apply all layers in their order to maps (B, C, H, W)."""
        layers = list(self)
        place = 0
        while place < len(layers):
            layer = layers[place]
            if not isinstance(layer, nn.Conv2d) or x.device.type != "cpu":
                x, place = layer(x), place + 1
                continue
            weight, bias, then = layer.weight, layer.bias, place + 1
            if then < len(layers) and _is_fixed(layers[then]):
                (weight, bias), then = _folded(layer, layers[then]), then + 1
            elif then < len(layers) and type(layers[then]) is nn.Identity:  # what folding leaves
                then += 1
            bound, dtype = _upper_bound(layers[then]) if then < len(layers) else None, result_type(x)
            if bound is not None and _joins(layer, x, dtype):
                form = (layer.stride, layer.padding, layer.dilation, layer.groups)
                bias = None if bias is None else bias.to(dtype)
                x, place = RectifiedConvolution.apply(x.to(dtype), weight.to(dtype), bias, form, bound), then + 1
            elif weight is not layer.weight:
                x, place = layer._conv_forward(x, weight, bias), then
            else:
                x, place = layer(x), then
        return x


class RectifiedConvolution(torch.autograd.Function):
    """Computes ``F.conv2d(x, weight, bias, ...).clamp(0, bound)`` in one pass, and its gradients from the result."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, form: Sequence[Any], bound: float) -> Tensor:  # type: ignore[override]
        """Convolve and clamp (B, C, H, W) to (B, K, h, w); the form is stride, padding, dilation and groups."""
        stride, padding, dilation, groups = form
        limits = ("relu", []) if bound == float("inf") else ("hardtanh", [0.0, bound])
        y = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, dilation, groups, *limits, "")
        ctx.save_for_backward(x, weight, y)
        ctx.form, ctx.bound = form, bound
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        """Derive the gradients of the map (B, C, H, W), the weights and the bias from that of the result (B, K, h, w)."""
        x, weight, y = ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(gradient, y, 0.0, ctx.bound)
        of_x, of_weight, of_bias = _gradients(passed, x, weight, ctx.form, list(ctx.needs_input_grad[:3]))
        return of_x, of_weight, of_bias, None, None


Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def _gradients(gradient: Tensor, x: Tensor, weight: Tensor, form: Sequence[Any], wanted: list[bool]) -> Gradients:
    """Derive the gradients of x (B, C, H, W), weight (K, C / groups, h, w) and bias (K,) from that of a convolution (B, K, h', w').

    In bfloat16 two cases of depthwise convolutions are brought to one that oneDNN computes fast: a dilation to undilated ones of grids,
    and for the map's gradient a stride to none, with zeros between the cells (20 instead of 97 ms for (16, 144, 80, 80)).
    """
    stride, padding, dilation, groups = form
    is_plain = stride == dilation == (1, 1)
    is_depthwise = x.dtype == torch.bfloat16 and groups == x.shape[1] == len(weight) and weight.shape[2:] == (3, 3) and padding == dilation
    if is_depthwise and stride == (1, 1) and not is_plain:
        of_bias = gradient.sum(dim=(0, 2, 3)) if wanted[2] else None
        images, gradients = grids_as_images(x, dilation[0]), grids_as_images(gradient, dilation[0])
        of_images, of_weight, _ = _gradients(gradients, images, weight, ((1, 1), (1, 1), (1, 1), groups), [*wanted[:2], False])
        return None if of_images is None else images_as_grids(of_images, dilation[0], *x.shape[2:]), of_weight, of_bias
    of_x = None
    if is_depthwise and wanted[0] and stride == (2, 2) and dilation == (1, 1):
        spread = torch.zeros_like(x)
        spread[:, :, ::2, ::2] = gradient
        of_x, _, _ = _gradients(spread, x, weight, ((1, 1), padding, dilation, groups), [True, False, False])
        wanted = [False, *wanted[1:]]
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, wanted
    )
    others = [one if want else None for one, want in zip(found, wanted, strict=True)]
    return others[0] if of_x is None else of_x, others[1], others[2]


def _is_fixed(layer: nn.Module) -> bool:
    """Whether a layer is a BatchNorm2d whose statistics and parameters stay as they are."""
    if not isinstance(layer, nn.BatchNorm2d) or layer.training or layer.running_var is None or not layer.affine:
        return False
    return not (layer.weight.requires_grad or layer.bias.requires_grad)


def _folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights (K, C / groups, h, w) and bias (K,) of a convolution with what normalises its result."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None  # it is fixed
    gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * gain
    return conv.weight * gain[:, None, None, None], shift if conv.bias is None else shift + conv.bias * gain


def _upper_bound(layer: nn.Module) -> float | None:
    """Up to where a rectifier lets values pass, None of other layers."""
    return {nn.ReLU6: 6.0, nn.ReLU: float("inf")}.get(type(layer))


def _joins(conv: nn.Conv2d, x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a convolution of x (B, C, H, W) to a dtype and a rectifier are computed in one pass."""
    if x.numel() == 0 or dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    if type(conv) is DilatedDepthwise:
        return DilatedDepthwise.takes_grids(x, conv.dilation[0])
    return type(conv) in (nn.Conv2d, DirectPointwise)


def replace_sequences(root: nn.Module) -> None:
    """Replace every sequence below a module that holds a BatchNorm2d behind a convolution; names and parameters stay."""
    for name, child in list(root.named_children()):
        replace_sequences(child)
        if isinstance(child, nn.Sequential) and type(child).forward is nn.Sequential.forward and _holds_pair(child):
            setattr(root, name, FoldingSequential(OrderedDict(child.named_children())))


def _holds_pair(layers: nn.Sequential) -> bool:
    kinds = [isinstance(layer, nn.Conv2d) - isinstance(layer, nn.BatchNorm2d) for layer in layers]
    return any(pair == (1, -1) for pair in pairwise(kinds))
