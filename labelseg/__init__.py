"""Pixel masks and a trained segmenter from cheap labels, in offline, restartable stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelseg.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Workspace", "__version__"]


def __getattr__(name: str) -> Any:
    """Load ``Workspace`` when it is first asked for."""
    if name == "Workspace":
        from labelseg.workspace import Workspace

        return Workspace
    raise AttributeError(f"module 'labelseg' has no attribute '{name}'")
