"""The weights that whole networks were recorded with."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch


def fill(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The recorded networks' weights: uniform, seeded by the checksum of the parameter's name."""
    generator = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if len(shape) == 4:
        value = generator.uniform(-1, 1, shape) * math.sqrt(3 / math.prod(shape[1:]))
    else:
        low, high = {"weight": (0.8, 1.2), "running_var": (0.5, 1.5)}.get(name.rpartition(".")[2], (-0.1, 0.1))
        value = generator.uniform(low, high, shape)
    return torch.from_numpy(value).float()
