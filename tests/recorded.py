"""Recorded results of the published WILSON code: the small ones lie here, the large ones beside the repository where there are any."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

TESTS = Path(__file__).parent
FOLDERS = (TESTS / "reference" / "wilson", TESTS.parents[1] / "shared" / "reference" / "wilson")


def wilson(name):
    """Name -> array of a file; skips the test where the file is not here."""
    for folder in FOLDERS:
        if (folder / f"{name}.npz").exists():
            with np.load(folder / f"{name}.npz") as arrays:
                return dict(arrays)
    pytest.skip(f"{name}.npz is not here")


def wilson_tensors(name):
    """The same as tensors; text stays away."""
    return {key: torch.from_numpy(value) for key, value in wilson(name).items() if value.dtype.kind in "fiub"}


def wilson_tasks():
    """The recorded tasks."""
    return json.loads((FOLDERS[0] / "10_tasks.json").read_text())


def close(found, recorded, tolerance=1e-5):
    """Assert that two tensors agree within ``tolerance * (1 + |recorded|)``."""
    recorded = torch.as_tensor(recorded)
    assert found.shape == recorded.shape
    worst = ((found.detach().double() - recorded.double()).abs() / (1 + recorded.double().abs())).max()
    assert worst <= tolerance, float(worst)
