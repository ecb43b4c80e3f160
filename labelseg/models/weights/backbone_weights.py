"""The weights that a backbone begins from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from labelseg.errors import UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.weights.downloads import demand_download, download_imagenet
from labelseg.models.weights.states import COUNTER, FileNames, demand_fit, load_state
from labelseg.models.weights.weight_files import file_licence, read_weights


@dataclass(frozen=True)
class Taken:
    """What of a file of weights became a backbone.

    Attributes:
        parts: Part of the backbone, such as ``layer1`` -> number of its tensors that came from the file.
        random: Names of tensors of the backbone that the file lacks, which stay random.
        left: Names of tensors that were left out as none of the backbone's, such as those of a head, in the order of the file.
    """

    parts: Mapping[str, int]
    random: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        tensors = ", ".join(f"{part} {count}" for part, count in self.parts.items())
        listed = {"random as before": self.random, "left out": self.left}
        rest = [
            f"; {what}: {', '.join(names[:4])}{f' and {len(names) - 4} more' * (len(names) > 4)}" for what, names in listed.items() if names
        ]
        return f"{sum(self.parts.values())} tensors taken ({tensors}){''.join(rest)}"


def load_weights(backbone: Backbone, spec: str) -> Taken | None:
    """Load initial weights into a backbone.

    Args:
        backbone: Changed in place.
        spec: ``none`` keeps the random weights; ``imagenet`` takes torchvision's (downloaded once); anything else is the
            path of a ``.safetensors``, ``.pth`` or ``.pt`` file under torchvision's parameter names, or of a
            network of this project, whose backbone is taken. The file's head is left out, as ``Backbone.heads`` names it.

    Returns:
        What was taken of a file; None where there is none.

    Raises:
        DataError: the file or the download cannot be read or does not fit the backbone.
        UsageError: there are no such weights for this backbone.
    """
    if spec == "none":
        return None
    state = download_imagenet(backbone.name) if spec == "imagenet" else read_weights(Path(spec))
    own, left, names = _of_backbone(backbone, state)
    given = backbone.from_file(own)
    taken = _taken(backbone, given, left)
    load_state(backbone, given, f"weights {spec} for {backbone.name}", names)
    backbone.licence = "" if spec == "imagenet" else file_licence(Path(spec))
    return None if spec == "imagenet" else taken


def outline(name: str, output_stride: int = 16) -> Backbone:
    """Build a backbone of names and shapes alone.

    Raises:
        UsageError: as ``build_backbone``.
    """
    with torch.device("meta"):
        return build_backbone(name, output_stride)


def usual_stride(name: str) -> int:
    """Tell the output stride that the stages have for a backbone, 16; or 32, the network's own, where it is made with no other."""
    try:
        outline(name)
    except UsageError:
        return 32
    return 16


def check_weights(backbone: Backbone, spec: str) -> Taken | None:
    """Check that a backbone can begin from weights, as far as that can be told without a download.

    Args:
        backbone: Stays as it is; names and shapes are enough.
        spec: As of ``load_weights``.

    Returns:
        What is taken of a file; None where there is none.

    Raises:
        DataError: a file cannot be read, or does not fit.
        UsageError: a file has another suffix, or there are no such weights for this backbone.
    """
    if spec == "imagenet":
        demand_download(backbone.name)
    elif spec != "none":
        own, left, names = _of_backbone(backbone, read_weights(Path(spec)))
        given = demand_fit(backbone, backbone.from_file(own), f"weights {spec} for {backbone.name}", names)
        return _taken(backbone, given, left)
    return None


def _of_backbone(backbone: Backbone, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...], FileNames]:
    """Take the tensors of the backbone out of those of a whole network, list the names of the others, and keep how the file calls them.

    Published IRN files hold them under the name of the network, and under two others again.
    """
    prefix = next((one for one in (f"{backbone.name}.", "backbone.") if any(key.startswith(one) for key in state)), "")
    taken = {key: value for key, value in state.items() if key.startswith(prefix) and (prefix or not key.startswith(backbone.heads))}
    own = {key.removeprefix(prefix): value for key, value in taken.items()}
    return own, tuple(key for key in state if key not in taken), FileNames(state, {backbone.inner: prefix, "": prefix})


def _taken(backbone: Backbone, given: Mapping[str, Tensor], left: tuple[str, ...]) -> Taken:
    """Tell the tensors that came from a file, by part, from the backbone's own that ``from_file`` filled it up with; without counters."""
    own = backbone.state_dict()
    counted = {key: value for key, value in given.items() if not key.startswith(backbone.presets) and not key.endswith(COUNTER)}
    random = tuple(key for key, value in counted.items() if key in own and _is_same(value, own[key]))
    return Taken(Counter(key.split(".")[0] for key in counted if key not in random), random, left)


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or both of no values."""
    return one.is_meta if other.is_meta else one.data_ptr() == other.data_ptr()
