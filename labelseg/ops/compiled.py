"""Compile loops over arrays to machine code, on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., object])

# Sums may be reordered and fused, which lets them use vector instructions; infinities and NaN keep their meaning.
SAFE_MATHS = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: F) -> F:
    """Compile a function for the argument types of its calls, and keep the result on disk for the next process."""
    options = {"fastmath": SAFE_MATHS, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to: compile in every process
        return njit(**options)(function)
