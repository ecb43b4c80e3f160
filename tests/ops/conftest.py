from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "reference" / "psa"


@pytest.fixture
def reference() -> Callable[[str], dict[str, NDArray]]:
    """Loads a file of recorded results by its stem."""

    def load(name: str) -> dict[str, NDArray]:
        with np.load(FOLDER / f"{name}.npz") as arrays:
            return dict(arrays)

    return load
