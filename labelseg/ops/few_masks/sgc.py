"""Self-attention Grad-CAM (SGC): class activation maps gated by tags, spread by attention between positions, fused with a decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from labelseg.errors import UsageError

Scope = Literal["batch", "image", "pixel"]

_FLOOR = 1e-5  # of the maximum that a map is divided by
_BLOCKED = -1e9  # logit of a pair with a position that does not count
_PAIRS = 2**22  # of positions whose attention is held at once, for each image


def normalize_maps(maps: Tensor) -> Tensor:
    """Divide each map by its largest value, floored at 1e-5; a map without a positive value becomes zero.

    Args:
        maps: (B, C, h, w) >= 0.

    Returns:
        (B, C, h, w) in [0, 1].

    Source: Zou et al. 2021; pseudoseg.md 1.3.
    """
    highest = maps.amax(dim=(2, 3), keepdim=True)
    return torch.where(highest > 0, maps / highest.clamp(min=_FLOOR), torch.zeros_like(maps))


def linear_cam(features: Tensor, weight: Tensor, tags: Tensor) -> Tensor:
    """Compute Grad-CAM of a linear head on the mean of the features, without a backward pass.

    The gradient of a logit is then the weight of its class over the number of positions, everywhere.

    Args:
        features: (B, F, h, w) float.
        weight: (C, F) of the head.
        tags: (B, C) in {0, 1}; maps of classes that an image does not hold are zero.

    Returns:
        (B, C, h, w) in [0, 1], without gradients.

    Source: Zou et al. 2021; pseudoseg.md 1.3.
    """
    features, weight = features.detach(), weight.detach()
    alpha = weight / (features.shape[2] * features.shape[3])
    maps = torch.einsum("cf,bfhw->bchw", alpha, features).relu()
    return normalize_maps(maps * tags[:, :, None, None])


def grad_cam(features: Tensor, head: Callable[[Tensor], Tensor], tags: Tensor) -> Tensor:
    """Compute Grad-CAM of any head by one backward pass a class.

    Args:
        features: (B, F, h, w) float.
        head: Maps features to logits (B, C); images must not influence each other.
        tags: (B, C) in {0, 1}.

    Returns:
        (B, C, h, w) in [0, 1], without gradients.

    Source: Zou et al. 2021; pseudoseg.md 1.3. The gradient is averaged over the positions of each image; the published code
        averages over images and rows.
    """
    with torch.enable_grad():
        leaf = features.detach().requires_grad_(True)
        logits = head(leaf)
        maps = []
        for of_class in logits.sum(dim=0):  # the gradient of a sum over images is that of each image
            (gradient,) = torch.autograd.grad(of_class, leaf, retain_graph=True)
            alpha = gradient.mean(dim=(2, 3), keepdim=True)
            maps.append((alpha * features.detach()).sum(dim=1).relu())
    return normalize_maps(torch.stack(maps, dim=1) * tags[:, :, None, None])


def attention_weights(query: Tensor, key: Tensor, valid: Tensor, rows: slice = slice(None)) -> Tensor:
    """Compute how much each position attends to each other one: ``softmax_j(q_i . k_j / sqrt(D))``.

    Args:
        query, key: (B, D, h, w).
        valid: (B, h, w) in {0, 1}; 0 where there is no image (padding, cutout).
        rows: Positions i that are wanted, counted row by row.

    Returns:
        (B, n, h w) of the n positions wanted; rows sum to 1. A valid position gives nothing to invalid ones; the row of an invalid
        position is uniform.

    Source: Zou et al. 2021; pseudoseg.md 1.4.
    """
    logits = torch.einsum("bdi,bdj->bij", query.flatten(2)[:, :, rows], key.flatten(2)) / query.shape[1] ** 0.5
    counts = (valid.flatten(1) > 0).float()
    # Added, not filled in: rows of invalid positions then pass on gradients, as in the published code. In float32 the sum swallows
    # the logits, which is what makes these rows uniform.
    return (logits.float() + _BLOCKED * (1 - counts[:, rows, None] * counts[:, None, :])).softmax(dim=2)


def attend(maps: Tensor, query: Tensor, key: Tensor, valid: Tensor, pairs: int = _PAIRS) -> Tensor:
    """Replace each position of the maps by the mean of all, weighted by its attention.

    Args:
        maps: (B, C, h, w).
        query, key, valid: As of ``attention_weights``.
        pairs: Weights that are held at once, for each image, or those of one position: an image of any size fits in memory.

    Returns:
        (B, C, h, w).
    """
    values = maps.flatten(2)
    cells = values.shape[2]
    step = max(1, pairs // cells)
    blocks = [slice(first, first + step) for first in range(0, cells, step)]
    attended = [torch.einsum("bij,bcj->bci", attention_weights(query, key, valid, rows), values) for rows in blocks]
    return torch.cat(attended, dim=2).reshape(maps.shape)


def propagate_maps(maps: Tensor, attended: Tensor, background: bool = True) -> Tensor:
    """Add to the maps what attention brings from other positions, and put the background in front.

    Args:
        maps: (B, C, h, w) in [0, 1].
        attended: (B, C, h, w), from ``attend``.
        background: Whether the data has a background class; its score is 2 minus the highest score of a class.

    Returns:
        (B, C + 1, h, w) in [0, 2], or (B, C, h, w) without background.

    Source: Zou et al. 2021; pseudoseg.md 1.4. Data without background is beyond the source.
    """
    scores = attended + maps
    return torch.cat([2 - scores.amax(dim=1, keepdim=True), scores], dim=1) if background else scores


def resize_nearest(mask: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Sample a mask at the nearest pixels.

    Args:
        mask: (B, H, W).
        size: (h, w) of the result.
        align_corners: Rows ``i (H - 1) / (h - 1)``, rounded, so that corners stay corners; else ``floor(i H / h)``. Columns alike.

    Returns:
        (B, h, w).
    """

    def places(cells: int, pixels: int) -> Tensor:
        steps = torch.arange(cells, device=mask.device)
        if not align_corners or cells == 1:
            return steps * pixels // cells
        return (2 * steps * (pixels - 1) + cells - 1) // (2 * (cells - 1))

    rows, columns = (places(n, m) for n, m in zip(size, mask.shape[1:], strict=True))
    return mask[:, rows[:, None], columns]


def resize_bilinear(maps: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Resize (B, C, h, w) bilinearly; with ``align_corners`` the corner cells of both grids coincide, as in the published code."""
    return maps if maps.shape[2:] == size else F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def logit_scale(decoder: Tensor, sgc: Tensor, scope: Scope = "batch") -> Tensor:
    """Compute the common scale of two logit tensors: the root of the mean of all their squares + 1e-8.

    Args:
        decoder, sgc: (B, C, h, w).
        scope: Over what is averaged: everything, each image, or each position.

    Returns:
        Broadcastable to (B, C, h, w), > 0.

    Source: Zou et al. 2021; pseudoseg.md 1.5 (scope ``batch``). With ``image`` a label does not depend on its batch mates.
    """
    dims = {"batch": (0, 1, 2, 3), "image": (1, 2, 3), "pixel": (1,)}
    if scope not in dims:
        raise UsageError(f"norm scope: expected batch, image or pixel, got {scope!r}.")
    squares = (decoder.square() + sgc.square()) / 2
    return (squares.mean(dim=dims[scope], keepdim=True) + 1e-8).sqrt()


def fuse(
    decoder: Tensor,
    sgc: Tensor,
    *,
    gamma: float = 0.5,
    temperature: float = 0.5,
    normalize: bool = True,
    scope: Scope = "batch",
) -> Tensor:
    """Fuse two decisions into a soft label: calibrate, average, sharpen.

    ``p = gamma softmax(Z / rho) + (1 - gamma) softmax(S / rho)``, then ``p ** (1 / T)`` renormalised.

    Args:
        decoder: (B, C, h, w) logits of the decoder.
        sgc: (B, C, h, w) logits of the spread maps.
        gamma: Share of the decoder in [0, 1]; 1 and 0 leave one part alone.
        temperature: T > 0; 1 does not sharpen, less does.
        normalize: Divide both by ``logit_scale`` first.
        scope: Of ``logit_scale``.

    Returns:
        (B, C, h, w) >= 0; sums to 1 over classes.

    Source: Zou et al. 2021; pseudoseg.md 1.5.
    """
    scale = logit_scale(decoder, sgc, scope) if normalize else torch.ones((), dtype=decoder.dtype, device=decoder.device)
    mean = gamma * (decoder / scale).softmax(dim=1) + (1 - gamma) * (sgc / scale).softmax(dim=1)
    return sharpen(mean, temperature)


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Raise probabilities (B, C, h, w) to the power 1 / T and renormalise over classes; T = 1 changes nothing."""
    if temperature == 1:
        return probabilities
    # In logarithms: powers of small numbers would underflow to 0 / 0.
    return (probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log() / temperature).softmax(dim=1)
