"""What all backbones of timm have in common: how images come in, what is frozen, and what files of weights hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelseg.errors import UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.timm_library.creation import create_network

_OWN = "net."


class TimmBackbone(Backbone):
    """A network of timm as a backbone.

    Images come normalised by the statistics of ImageNet; a network of other ones has them turned into its own. They are filled up
    with its mean colour, at the right and below, to whole cells of the coarsest level.

    Args:
        name: ``timm:`` and a name of timm.
        net: The network.
        cell: Pixels that the sides of an image are filled up to a multiple of.
        dilate: Must be true: where timm takes out a stride, it dilates.
    """

    folds = False
    inner = _OWN

    def __init__(self, name: str, net: nn.Module, cell: int, dilate: bool = True) -> None:
        super().__init__(32)
        if not dilate:
            raise UsageError(f"backbone {name}: timm dilates the convolutions behind a stride that is taken out. Leave out --no-dilate.")
        self.name, self.net, self._cell = name, net, cell
        self._scale, self._shift = _renormalisation(net)

    def blocks(self) -> list[nn.Module]:
        """The parts that have parameters, as the network lists them; its sequences are opened."""
        parts = []
        for child in self.net.children():
            parts += list(child) if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
        return [part for part in parts if next(part.parameters(), None) is not None]

    def freeze_blocks(self, count: int) -> Self:
        """Fix the first ``count`` blocks; with the first one also what belongs to no block, such as position embeddings."""
        super().freeze_blocks(count)
        if count:
            for parameter in self.net.parameters(recurse=False):
                parameter.requires_grad_(False)
        return self

    def from_file(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the tensors of a file, of any shape, from names of timm or of the authors of a network to those here.

        Position embeddings are resampled to the grid of the network; tensors of its head, which a backbone lacks, are left out.
        """
        plain = {name.removeprefix(_OWN): value for name, value in state.items()}
        with torch.device("meta"):  # names and shapes alone
            whole = create_network(self.name)
        convert = getattr(sys.modules[type(whole).__module__], "checkpoint_filter_fn", None)
        if convert is not None:
            with redirect_stdout(sys.stderr):
                plain = convert(plain, whole)
        own, known = self.net.state_dict(), whole.state_dict()
        return {_OWN + name: value for name, value in plain.items() if name in own or name not in known}

    def _filled(self, x: Tensor) -> Tensor:
        """Normalise images (B, 3, H, W) as the network has them, and fill them up."""
        if self._scale is not None and self._shift is not None:
            x = x * self._scale.to(x) + self._shift.to(x)
        height, width = x.shape[2:]
        return F.pad(x, (0, -width % self._cell, 0, -height % self._cell))


def _renormalisation(net: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    """Find the factor and the shift (3, 1, 1) from the statistics of ImageNet to those of a network; None where these are the same."""
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    config = getattr(net, "pretrained_cfg", None) or {}
    own = (tuple(config.get("mean") or IMAGENET_DEFAULT_MEAN), tuple(config.get("std") or IMAGENET_DEFAULT_STD))
    if own == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD):
        return None, None
    given_mean, given_std, mean, std = (
        torch.tensor(values, device="cpu").reshape(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, *own)
    )
    return given_std / std, (given_mean - mean) / std
