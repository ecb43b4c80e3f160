"""The libraries that results and reports of a fault depend on, and their versions."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "labelseg",
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "scipy",
    "zarr",
    "pillow",
    "numba",
    "pydensecrf2",
    "timm",
    "matplotlib",
    "click",
)


@cache
def library_versions() -> dict[str, str]:
    """Look up the version of each of ``LIBRARIES``, in that order; one that is not installed is left out. Loads none of them."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
