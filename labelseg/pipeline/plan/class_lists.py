"""Which classes an artifact was made with, and whether its ids mean what the ids of another list mean. Pure, on plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelseg.errors import ArtifactError


def recorded_classes(recipe: Mapping[str, Any], name: str, command: str) -> tuple[str, ...]:
    """Read from a recorded recipe which classes an artifact was made with; id k is the k-th.

    Args:
        recipe: That of its manifest or ref.
        name: What to call the artifact in an error.
        command: What makes it anew.

    Raises:
        ArtifactError: nothing of the kind is recorded.
    """
    classes = recipe.get("classes")
    if not isinstance(classes, list | tuple) or not classes or not all(isinstance(title, str) for title in classes):
        raise ArtifactError(f"{name}: expected the classes it was made with in its record. Rebuild: {command}")
    return tuple(classes)


def mixed_ids(first: Sequence[str], second: Sequence[str]) -> list[int]:
    """List the ids that two lists of classes give to different ones; a list that goes on where the other ends mixes nothing."""
    return [k for k, (one, other) in enumerate(zip(first, second, strict=False)) if one != other]


def class_changes(now: Sequence[str], then: Sequence[str]) -> str:
    """Tell how a list of classes differs from an earlier one: ``bird added; dog removed``; empty where it does not."""
    came, went = [c for c in now if c not in then], [c for c in then if c not in now]
    parts = [f"{', '.join(came)} added"] * bool(came) + [f"{', '.join(went)} removed"] * bool(went)
    return "; ".join(parts) or ("" if list(now) == list(then) else "order changed")


def mix_text(first: Sequence[str], second: Sequence[str]) -> str:
    """Tell the first id that two lists of classes give to different ones: ``1 is cat there and dog here``."""
    k = mixed_ids(first, second)[0]
    return f"{k} is {first[k]} there and {second[k]} here"
