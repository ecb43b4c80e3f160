"""Files of whole segmenters, of this project and of the published UniMatch code."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import NDArray

from labelseg.models.heads.dpt import without_idle
from labelseg.models.heads.unimatch_head import from_published_names
from labelseg.models.weights.weight_files import read_weights


def read_segmenter(spec: str) -> dict[str, NDArray]:
    """Read the tensors of a segmenter from a file, whether they have the names of this project or of the published UniMatch code.

    Args:
        spec: Path of a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Returns:
        Name -> array with the shape of the tensor, under the names of this project; empty for a file of another network, which has no
        tensors of a ``backbone``.

    Raises:
        DataError: the file cannot be read.
    """
    state = read_weights(Path(spec))
    if not any(name.startswith("backbone.") for name in state):
        return {}  # a classifier may have a head too
    published = "head.b0.0.weight" in state
    own = from_published_names(state) if published else without_idle(state)
    return {name: value.numpy() for name, value in own.items()}
