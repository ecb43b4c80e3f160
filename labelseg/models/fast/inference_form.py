"""The form of a network that computes the same with less work, for inference only."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from labelseg.models.fast.folding import fold_batchnorm
from labelseg.models.fast.pointwise import replace_pointwise

Net = TypeVar("Net", bound=nn.Module)


def for_inference(net: Net) -> Net:
    """Fold batch normalisation, and compute 1x1 convolutions directly.

    Args:
        net: Changed in place.

    Returns:
        The same network, in evaluation mode.
    """
    replace_pointwise(fold_batchnorm(net))
    return net
