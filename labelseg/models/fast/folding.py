"""Batch normalisation folded into the convolutions before it: the same network, one pass over memory less for each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def fold_batchnorm(net: Net) -> Net:
    """Fold every BatchNorm2d that directly follows a Conv2d among the children of a module; for inference only.

    In evaluation mode ``bn(conv(x)) = g * (w * x + b - m) + s`` with ``g = gamma / sqrt(v + eps)``: a convolution with weights
    ``g * w`` and bias ``g * (b - m) + s``. Children must be applied in the order in which they are registered; a module whose attribute
    ``folds`` is false, as networks of other libraries are, does not promise that, and keeps all that is below it.

    Args:
        net: Changed in place; its parameters have other names and values afterwards.

    Returns:
        The same network, in evaluation mode.
    """
    for parent in list(_ordered(net)):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
                _fold(conv, norm)
                setattr(parent, name, nn.Identity())
    return net.eval()


def _ordered(root: nn.Module) -> Iterator[nn.Module]:
    """List a module and all below it, but for what lies at or below one that does not fold."""
    if getattr(root, "folds", True):
        yield root
        for child in root.children():
            yield from _ordered(child)


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold in double precision, so that the result is rounded once."""
    assert norm.running_mean is not None and norm.running_var is not None  # the caller looked
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    shift = torch.zeros_like(gain)
    if norm.affine:
        gain, shift = gain * norm.weight.double(), norm.bias.double()
    bias = torch.zeros_like(gain) if conv.bias is None else conv.bias.double()
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * gain.reshape(-1, 1, 1, 1)).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(((bias - norm.running_mean.double()) * gain + shift).to(dtype), requires_grad=False)
