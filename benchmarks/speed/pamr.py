"""What PAMR costs: shifted views, one a neighbour, against a stack of all neighbours as published."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import against
from labelseg.ops.new_classes.pamr import DILATIONS, pamr, pamr_weights


def stacked(image: Tensor, scores: Tensor, iterations: int = 10) -> Tensor:
    """Refine by dilated convolutions that copy every neighbour of every pixel at each iteration."""
    weights = pamr_weights(image)
    kernel = torch.zeros(8, 1, 3, 3)
    for k, cell in enumerate(cell for cell in range(9) if cell != 4):
        kernel[k, 0, cell // 3, cell % 3] = 1
    batch, channels, height, width = scores.shape
    for _ in range(iterations):
        flat = scores.reshape(batch * channels, 1, height, width)
        parts = [F.conv2d(F.pad(flat, (d,) * 4, mode="replicate"), kernel, dilation=d) for d in DILATIONS]
        neighbours = torch.cat(parts, dim=1).reshape(batch, channels, -1, height, width)
        scores = (neighbours * weights[:, None]).sum(dim=2)
    return scores


def run(quick: bool) -> list[dict[str, Any]]:
    """Time both at the sizes of trainings."""
    rows = []
    for batch, channels, side in ((8, 7, 20), (24, 21, 32)):
        generator = torch.Generator().manual_seed(0)
        image = torch.rand(batch, 3, side, side, generator=generator)
        scores = torch.rand(batch, channels, side, side, generator=generator)
        error = float((pamr(image, scores) - stacked(image, scores)).abs().max())
        name = f"PAMR, batch {batch}, {channels} classes, {side} x {side}"
        rows.append(
            against(
                name,
                partial(pamr, image, scores),
                "stack of neighbours",
                partial(stacked, image, scores),
                rounds=1 if quick else 5,
                error=error,
            )
        )
    return rows
