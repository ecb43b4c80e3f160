"""Plain vision transformers of timm: one token for each patch, from the first block to the last."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from labelseg.errors import UsageError
from labelseg.models.encoders.timm_library.creation import create_network
from labelseg.models.encoders.timm_library.timm_backbone import TimmBackbone

# Blocks, counted from 1, whose tokens segmentation heads are published on, by the number of all: unimatch.md 6. Others: quarters.
_TAPPED = {24: (5, 12, 18, 24)}
_USUAL_STRIDE = 16


class PlainViT(TimmBackbone):
    """A plain vision transformer whose patch tokens are its maps, all of the stride of the patch.

    The taps are the tokens after a quarter, half, three quarters and all of the blocks, each normalised by the last layer; class and
    register tokens are left out. The stem is the tokens after the first block. Position embeddings are resampled to the image. Where
    the sides of an image are no multiples of the patch, tokens are resampled so that they cover the image evenly.

    Args:
        name: ``timm:`` and a name of timm.
        output_stride: Side of the patch, or 16, the usual value, which stands for it.
        net: The network, where it is not to be made by its name.

    Raises:
        UsageError: another output stride is asked for.

    Source: Dosovitskiy et al. 2021; the taps of Yang et al. 2025 (UniMatch V2), unimatch.md 6.
    """

    def __init__(self, name: str, output_stride: int = _USUAL_STRIDE, dilate: bool = True, net: nn.Module | None = None) -> None:
        made: Any = create_network(name, dynamic_img_size=True) if net is None else net
        patch = int(made.patch_embed.patch_size[0])
        if output_stride not in (patch, _USUAL_STRIDE):
            raise UsageError(
                f"backbone {name}: its maps have the stride of its patches: expected --output-stride {patch}, or the usual "
                f"{_USUAL_STRIDE}, which stands for it, got {output_stride}."
            )
        super().__init__(name, made, patch, dilate)
        made.prune_intermediate_layers(len(made.blocks), prune_head=True)
        self.patch = self.output_stride = patch
        self.strides = (patch,) * 4
        self.stem_channels = int(made.embed_dim)
        self.channels = (self.stem_channels,) * 4
        depth = len(made.blocks)
        self._taps = [block - 1 for block in _TAPPED.get(depth, [-(-depth * quarter // 4) for quarter in range(1, 5)])]

    def levels(self, x: Tensor) -> list[Tensor]:
        """Compute the tokens after the first block, and the four taps, of normalised images (B, 3, H, W)."""
        return self._tokens(x, [0, *self._taps])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the four taps, the earliest first, of normalised images (B, 3, H, W)."""
        return self._tokens(x, self._taps)

    def _tokens(self, x: Tensor, blocks: list[int]) -> list[Tensor]:
        """Compute the tokens (B, C, h, w) after blocks, one block may be named twice."""
        wanted = sorted(set(blocks))
        net: Any = self.net
        maps = net.forward_intermediates(self._filled(x), indices=wanted, norm=True, intermediates_only=True)
        after = {block: self._evenly(tokens, x) for block, tokens in zip(wanted, maps, strict=True)}
        return [after[block] for block in blocks]

    def _evenly(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Resample tokens (B, C, h, w) of an image that was filled up so that as many cover the image alone."""
        rows, columns = (_evening(cells, self.patch, side) for cells, side in zip(tokens.shape[2:], x.shape[2:], strict=True))
        if rows is not None:
            tokens = rows.to(tokens) @ tokens
        return tokens if columns is None else tokens @ columns.to(tokens).T


def _evening(cells: int, patch: int, side: int) -> Tensor | None:
    """Write the matrix that takes values of cells, in patches of which the last reaches beyond a side, to as many even parts of that side.

    Linear between the centres of cells; None where the cells are even.
    """
    if cells * patch == side:
        return None
    centres = ((torch.arange(cells, device="cpu") + 0.5) * side / (cells * patch) - 0.5).clamp(min=0)
    before = centres.long()
    beyond, places = centres - before, torch.arange(cells, device="cpu")
    matrix = torch.zeros(cells, cells, device="cpu")
    matrix[places, before] = 1 - beyond
    matrix[places, (before + 1).clamp(max=cells - 1)] += beyond
    return matrix
