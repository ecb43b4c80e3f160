"""Files of weights: named tensors and nothing else, whoever wrote them."""

from __future__ import annotations

import errno
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from labelseg.errors import DataError, UsageError

# Where checkpoints of a training keep the network, beside optimiser and scores; an averaged network goes before the trained one.
_WRAPPERS = ("state_dict", "model_ema", "model")
_PARALLEL = "module."  # what torch puts before every name where a network is trained on several devices
# Checkpoints hold scores as numpy numbers, which are passed over: only tensors are taken.
_PASSED_OVER = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")

# What torch and safetensors raise where a file is none of theirs, or was cut or changed.
_UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError, LookupError, OSError,
)  # fmt: skip


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read the named tensors of a file, alone or under the name that checkpoints of a training give them; nothing of it is ever run.

    Args:
        path: A ``.safetensors``, ``.pth`` or ``.pt`` file.

    Returns:
        Name -> tensor of any shape, on the CPU, under the names of the file, without what a training over several devices puts before.

    Raises:
        DataError: there is no such file, it cannot be read, or it holds something else.
        UsageError: it has another suffix.
    """
    if not path.is_file():
        found = "a folder, no file" if path.is_dir() else "no such file"
        raise DataError(f"weights {path}: {found}. Give the path of a .safetensors or .pth file; a training also takes none and imagenet.")
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise UsageError(
            f"weights {path}: expected a .safetensors, .pth or .pt file, found {path.suffix or 'no ending'}. What torch.save wrote under "
            "another ending can be renamed; files of Caffe, MXNet or TensorFlow have to be converted first."
        )
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
        reason = kind_of_file(path) or "cut short or changed"
        raise DataError(f"weights {path}: not a readable file of tensors ({reason}).") from error
    if isinstance(state, dict):
        state = next((state[name] for name in _WRAPPERS if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise DataError(
            f"weights {path}: expected named tensors, alone or under one of {', '.join(_WRAPPERS)}; found {_described(state)}. "
            "Save the tensors of the network: torch.save(net.state_dict(), FILE)"
        )
    if broken := [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        some = f"{', '.join(broken[:3])}{', ...' if len(broken) > 3 else ''}"
        raise DataError(f"weights {path}: values that are no finite numbers in {some}. The file is damaged: get it anew.")
    return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}


def file_licence(path: Path) -> str:
    """Read the licence that the metadata of a ``.safetensors`` file names; empty where it names none."""
    if path.suffix != ".safetensors":
        return ""
    with safe_open(path, "pt") as file:
        metadata = {name.lower(): value for name, value in (file.metadata() or {}).items()}
    return metadata.get("license") or metadata.get("licence", "")


def kind_of_file(path: Path) -> str:
    """Say what a file is that holds no tensors, by how it begins; empty where that tells nothing."""
    if not path.is_file():
        return ""
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
