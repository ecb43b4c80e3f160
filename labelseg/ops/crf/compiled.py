"""Compile loops over arrays to machine code, on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

# Sums may be reordered and fused, which lets them use vector instructions; infinities and NaN keep their meaning.
SAFE_MATHS = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for the argument types of its calls, and keep the result on disk for the next process."""
    try:
        return njit(cache=True, fastmath=SAFE_MATHS, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to: compile in every process
        return njit(fastmath=SAFE_MATHS, error_model="numpy")(function)
