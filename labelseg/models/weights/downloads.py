"""Weights that are downloaded: those of torchvision, and nothing else."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelseg.errors import DataError, UsageError
from labelseg.models.encoders.timm_library.creation import is_of_timm, published_weights
from labelseg.models.weights.weight_files import kind_of_file


def missing_download(name: str) -> tuple[str, float, Path] | None:
    """Tell what ``imagenet`` would download for a backbone.

    Returns:
        Address, megabytes and the file it becomes; None where that is there, or the backbone has no such weights.
    """
    weights = _weights_of_torchvision(name)
    if weights is None or cached_download(weights.url).exists():
        return None
    return weights.url, weights.meta["_file_size"], cached_download(weights.url)


def download_imagenet(name: str) -> Mapping[str, Tensor]:
    """Load the ImageNet weights of torchvision for a backbone, from the network the first time.

    Returns:
        Name -> tensor of the shape that the backbone has, under the names of torchvision.

    Raises:
        DataError: they cannot be downloaded, or the file of an earlier download is damaged.
        UsageError: there are none for this backbone.
    """
    weights = demand_download(name)
    cached = cached_download(weights.url)
    was_there = cached.exists()
    try:
        with redirect_stdout(sys.stderr):  # which the download writes to
            return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        if was_there:
            raise DataError(
                f"ImageNet weights of {name}: {cached} is not what was downloaded ({kind_of_file(cached) or 'cut short or changed'}). "
                "Remove the file, and it is downloaded again; or give --weights FILE or none."
            ) from error
        raise DataError(f"ImageNet weights of {name}: {weights.url} cannot be loaded ({error}). Give --weights FILE or none.") from error


def demand_download(name: str) -> Any:
    """Find the ImageNet weights that torchvision has for a backbone, or say what there is in their place."""
    weights = _weights_of_torchvision(name)
    if weights is None:
        raise UsageError(f"backbone {name} has no ImageNet weights{_published_elsewhere(name)}.")
    return weights


def _weights_of_torchvision(name: str) -> Any:
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


def cached_download(url: str) -> Path:
    """Name the file that a download of torchvision becomes."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
