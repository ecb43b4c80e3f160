"""Pixel masks and a trained segmenter from cheap labels, in offline, restartable stages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelseg.pipeline.run.options import RunOptions
    from labelseg.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["RunOptions", "Workspace", "__version__"]

# Loaded when first asked for: `import labelseg` alone costs nothing.
_HOMES = {"RunOptions": "labelseg.pipeline.run.options", "Workspace": "labelseg.workspace"}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'labelseg' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
