"""Weights in and out of networks: files, torchvision's downloads, and arrays for the store."""

from __future__ import annotations

import errno
import pickle
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from labelseg.errors import DataError, UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.encoders.timm_library.creation import is_of_timm, published_weights
from labelseg.models.heads.dpt import without_idle
from labelseg.models.heads.unimatch_head import from_published_names

# BatchNorm counts batches, but with a fixed momentum it never reads the count: models are stored without. ``ShiftNorm`` reads it.
_COUNTER = "num_batches_tracked"
# Where checkpoints of a training keep the network, beside optimiser and scores; an averaged network goes before the trained one.
_WRAPPERS = ("state_dict", "model_ema", "model")
# Checkpoints hold scores as numpy numbers, which are passed over: only tensors are taken.
_PASSED_OVER = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")

# What torch and safetensors raise where a file is none of theirs, or was cut or changed.
_UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError, LookupError, OSError,
)  # fmt: skip


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
    state = _imagenet(backbone.name) if spec == "imagenet" else _read_file(Path(spec))
    own, left = _of_backbone(backbone, state)
    given = backbone.from_file(own)
    taken = _taken(backbone, given, left)
    load_state(backbone, given, f"weights {spec} for {backbone.name}")
    backbone.licence = "" if spec == "imagenet" else file_licence(Path(spec))
    return None if spec == "imagenet" else taken


def check_weights(name: str, spec: str, output_stride: int = 16) -> Taken | None:
    """Check that there is a backbone and that it can begin from weights, as far as that can be told without a download.

    Args:
        name: Of the backbone.
        spec: As of ``load_weights``.
        output_stride: Of the backbone.

    Returns:
        What is taken of a file; None where there is none.

    Raises:
        DataError: a file cannot be read, or does not fit.
        UsageError: a file has another suffix; there is no such backbone, or it has no such weights.
    """
    with torch.device("meta"):  # names and shapes alone
        backbone = build_backbone(name, output_stride)
    if spec == "imagenet":
        _demand_published(name)
    elif spec != "none":
        own, left = _of_backbone(backbone, _read_file(Path(spec)))
        given = _demand_fit(backbone, backbone.from_file(own), f"weights {spec} for {name}")
        return _taken(backbone, given, left)
    return None


def file_licence(path: Path) -> str:
    """Read the licence that the metadata of a ``.safetensors`` file names; empty where it names none."""
    if path.suffix != ".safetensors":
        return ""
    with safe_open(path, "pt") as file:
        metadata = {name.lower(): value for name, value in (file.metadata() or {}).items()}
    return metadata.get("license") or metadata.get("licence", "")


def missing_download(name: str) -> tuple[str, float, Path] | None:
    """Tell what ``imagenet`` would download for a backbone.

    Returns:
        Address, megabytes and the file it becomes; None where that is there, or the backbone has no such weights.
    """
    weights = _published(name)
    if weights is None or _cached(weights.url).exists():
        return None
    return weights.url, weights.meta["_file_size"], _cached(weights.url)


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
    state = {name.removeprefix("module."): value for name, value in _read_file(Path(spec)).items()}
    if not any(name.startswith("backbone.") for name in state):
        return {}  # a classifier may have a head too
    published = "head.b0.0.weight" in state
    own = from_published_names(state) if published else without_idle(state)
    return {name: value.numpy() for name, value in own.items()}


def load_overlapping(net: nn.Module, arrays: Mapping[str, NDArray], source: str) -> None:
    """Load the tensors of another network into the parts that both have; a part that the other lacks stays as it is.

    Args:
        net: Changed in place. Its parts are the first words of its names.
        arrays: Name -> array with the shape of the tensor; parts that the network lacks, and everything if there is no head, are left out.
        source: To begin the error with.

    Raises:
        DataError: a part is there and does not fit.
    """
    own = net.state_dict()
    parts = {name.split(".")[0] for name in own}
    given = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items() if name.split(".")[0] in parts}
    there = {name.split(".")[0] for name in given}
    if "head" not in there:
        return
    kept = {name: value for name, value in own.items() if name.split(".")[0] not in there}
    try:
        load_state(net, {**kept, **given}, source)
    except DataError as error:
        raise DataError(f"{error} Give it the same head, width and classes, or take the backbone alone: --take backbone") from error


def load_state(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load all tensors of a network by name.

    Args:
        net: Changed in place.
        state: name -> tensor of the network's shape; counters of batches may be absent.
        source: What the tensors are, to begin the error with.

    Raises:
        DataError: names or shapes differ; the first of each are listed.
    """
    given = _demand_fit(net, state, source)
    counters = {key: value for key, value in state.items() if key.endswith(_COUNTER) and key in net.state_dict()}
    net.load_state_dict({**given, **counters}, strict=False)


def _demand_fit(net: nn.Module, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Refuse tensors whose names or shapes differ from those of a network; gives them without counters of batches."""
    expected = {key: value for key, value in net.state_dict().items() if not key.endswith(_COUNTER)}
    given = {key: value for key, value in state.items() if not key.endswith(_COUNTER)}
    problems = {
        "missing": [key for key in expected if key not in given],
        "unexpected": [key for key in given if key not in expected],
        "of another shape": [
            f"{key} (expected {tuple(value.shape)}, got {tuple(given[key].shape)})"
            for key, value in expected.items()
            if key in given and given[key].shape != value.shape
        ],
    }
    found = [f"{len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}" for kind, keys in problems.items() if keys]
    if found:
        raise DataError(f"{source}: the tensors do not fit the network: {'; '.join(found)}.")
    return given


def state_arrays(net: nn.Module) -> dict[str, NDArray]:
    """Copy a network's tensors into arrays, in the order of its state.

    Returns:
        Name -> array with the shape and dtype of the tensor; counters of batches are left out.
    """
    return {key: value.detach().cpu().contiguous().numpy().copy() for key, value in net.state_dict().items() if not key.endswith(_COUNTER)}


def load_arrays(net: nn.Module, arrays: Mapping[str, NDArray], source: str) -> None:
    """Load what ``state_arrays`` gave.

    Args:
        net: Changed in place.
        arrays: Name -> array with the shape of the tensor.
        source: To begin the error with.

    Raises:
        DataError: names or shapes differ.
    """
    load_state(net, {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, source)


def _imagenet(name: str) -> Mapping[str, Tensor]:
    weights = _demand_published(name)
    cached = _cached(weights.url)
    was_there = cached.exists()
    try:
        with redirect_stdout(sys.stderr):  # which the download writes to
            return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        if was_there:
            raise DataError(
                f"ImageNet weights of {name}: {cached} is not what was downloaded ({_kind_of(cached) or 'cut short or changed'}). "
                "Remove the file, and it is downloaded again; or give --weights FILE or none."
            ) from error
        raise DataError(f"ImageNet weights of {name}: {weights.url} cannot be loaded ({error}). Give --weights FILE or none.") from error


def _demand_published(name: str) -> Any:
    """Find the ImageNet weights that torchvision has for a backbone, or say what there is in their place."""
    weights = _published(name)
    if weights is None:
        raise UsageError(f"backbone {name} has no ImageNet weights{_published_elsewhere(name)}. Give --weights none or the path of a file.")
    return weights


def _published(name: str) -> Any:
    """Find the ImageNet weights that torchvision has for a backbone; None where it has none."""
    from labelseg.models.torchvision_shim import torchvision

    return torchvision.models.get_model_weights(name).DEFAULT if name in torchvision.models.list_models() else None


def _published_elsewhere(name: str) -> str:
    """Tell where to get weights of a network that are never downloaded unasked."""
    if not is_of_timm(name):
        return ""
    where = published_weights(name)
    if "repository" not in where:
        return " that come unasked"
    licence = f" (licence {where['licence']})" if "licence" in where else ""
    return f" that come unasked. Fetch a file: hf download {where['repository']} model.safetensors --local-dir .{licence}"


def _cached(url: str) -> Path:
    """Name the file that a download of torchvision becomes."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _of_backbone(backbone: Backbone, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take the tensors of the backbone out of those of a whole network, and list the names of the others.

    Published IRN files hold them under the name of the network, and under two others again.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    prefix = next((one for one in (f"{backbone.name}.", "backbone.") if any(key.startswith(one) for key in state)), "")
    taken = {key: value for key, value in state.items() if key.startswith(prefix) and (prefix or not key.startswith(backbone.heads))}
    return {key.removeprefix(prefix): value for key, value in taken.items()}, tuple(key for key in state if key not in taken)


def _taken(backbone: Backbone, given: Mapping[str, Tensor], left: tuple[str, ...]) -> Taken:
    """Tell the tensors that came from a file, by part, from the backbone's own that ``from_file`` filled it up with; without counters."""
    own = backbone.state_dict()
    counted = {key: value for key, value in given.items() if not key.startswith(backbone.presets) and not key.endswith(_COUNTER)}
    random = tuple(key for key, value in counted.items() if key in own and _is_same(value, own[key]))
    return Taken(Counter(key.split(".")[0] for key in counted if key not in random), random, left)


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or both of no values."""
    return one.is_meta if other.is_meta else one.data_ptr() == other.data_ptr()


def _read_file(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise DataError(f"weights {path}: no such file. Give none, imagenet or the path of a .safetensors or .pth file.")
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise UsageError(f"weights {path}: expected a .safetensors, .pth or .pt file.")
    state: Any
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with torch.serialization.safe_globals([(_PassedOver, name) for name in _PASSED_OVER]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about how a file was pickled, which helps nobody here
                state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        # Never the text of the library, which advises to load pickles that may run anything.
        reason = _kind_of(path) or "cut short or changed"
        raise DataError(f"weights {path}: not a readable file of tensors ({reason}).") from error
    if isinstance(state, dict):
        state = next((state[name] for name in _WRAPPERS if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise DataError(
            f"weights {path}: expected named tensors, alone or under one of {', '.join(_WRAPPERS)}; found {_described(state)}. "
            "Save the tensors of the network: torch.save(net.state_dict(), FILE)"
        )
    return state


def _kind_of(path: Path) -> str:
    """Say what a file is that holds no tensors, by how it begins."""
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip().lower()
    if not start:
        return "it is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, as a browser saves in place of a file; download the file itself"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file itself: git lfs pull"
    if start.startswith((b"\x1f\x8b", b"BZh")):
        return "it is packed; unpack it first"
    if start[:1] == b"\x80" or (start.startswith(b"PK\x03\x04") and b"data.pkl" in start):
        return "cut short, or Python objects beside tensors, which are never loaded: torch.save(net.state_dict(), FILE) saves tensors alone"
    return ""


def _described(state: Any) -> str:
    """Say what a file holds."""
    if not isinstance(state, dict):
        return type(state).__name__
    return ", ".join(f"{name} ({type(value).__name__})" for name, value in list(state.items())[:5])


class _PassedOver:
    """Takes the place of what a checkpoint holds beside tensors and plain values."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...
