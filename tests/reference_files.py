"""Recorded results of published code: small files lie in ``tests/reference``, large ones beside the repository where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

HERE = Path(__file__).parent / "reference"
BESIDE = Path(__file__).parents[2] / "shared" / "reference"


def load(system: str, name: str) -> dict[str, NDArray]:
    """Load a file of arrays by its stem; skip the test where the file is not at hand."""
    for folder in (HERE, BESIDE):
        path = folder / system / f"{name}.npz"
        if path.exists():
            with np.load(path) as arrays:
                return dict(arrays)
    pytest.skip(f"{system}/{name}.npz is not here")


def channels_first(array: NDArray) -> torch.Tensor:
    """Turn (B, H, W, C) into a tensor (B, C, H, W)."""
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy())


def channels_last(tensor: torch.Tensor) -> NDArray:
    """Turn (B, C, H, W) into an array (B, H, W, C)."""
    return tensor.detach().movedim(1, -1).numpy()
