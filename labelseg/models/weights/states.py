"""The tensors of a network by name: loaded, and given away as arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelseg.errors import DataError

# BatchNorm counts batches, but with a fixed momentum it never reads the count: models are stored without. ``ShiftNorm`` reads it.
COUNTER = "num_batches_tracked"


class FileNames:
    """How a file calls tensors that go by other names in a network.

    Args:
        read: Name in the file -> tensor, as it was read.
        beginnings: Beginning of a name in the network -> its beginning in the file; of several the first that fits.
    """

    def __init__(self, read: Mapping[str, Tensor], beginnings: Mapping[str, str]) -> None:
        self._read = {id(tensor): name for name, tensor in reversed(list(read.items()))}  # of copies the first
        self._beginnings = beginnings

    def of(self, name: str, tensor: Tensor | None) -> str:
        """Name a tensor as the file does, or would if it held it.

        Args:
            name: In the network.
            tensor: The one that was given for it, of any shape; None where there is none.
        """
        begins = next((one for one in self._beginnings if name.startswith(one)), "")
        return self._read.get(id(tensor)) or self._beginnings.get(begins, "") + name.removeprefix(begins)


def load_state(net: nn.Module, state: Mapping[str, Tensor], source: str, names: FileNames | None = None) -> None:
    """Load all tensors of a network by name.

    Args:
        net: Changed in place.
        state: name -> tensor of the network's shape; counters of batches may be absent.
        source: What the tensors are, to begin the error with.
        names: How the file calls them that they were read from; None where it is none, or calls them as the network does.

    Raises:
        DataError: names or shapes differ; the first of each are listed.
    """
    given = demand_fit(net, state, source, names)
    counters = {key: value for key, value in state.items() if key.endswith(COUNTER) and key in net.state_dict()}
    net.load_state_dict({**given, **counters}, strict=False)


def demand_fit(net: nn.Module, state: Mapping[str, Tensor], source: str, names: FileNames | None = None) -> dict[str, Tensor]:
    """Refuse tensors whose names or shapes differ from those of a network.

    Args:
        net: Stays as it is.
        state: Name -> tensor of the network's shape.
        source: What the tensors are, to begin the error with.
        names: As of ``load_state``.

    Returns:
        The tensors without counters of batches.

    Raises:
        DataError: names or shapes differ; the first of each are listed.
    """
    expected = {key: value for key, value in net.state_dict().items() if not key.endswith(COUNTER)}
    given = {key: value for key, value in state.items() if not key.endswith(COUNTER)}

    def told(key: str) -> str:
        return key if names is None else names.of(key, given.get(key))

    problems = {
        "missing": [told(key) for key in expected if key not in given],
        "unexpected": [told(key) for key in given if key not in expected],
        "of another shape": [
            f"{told(key)} (expected {tuple(value.shape)}, got {tuple(given[key].shape)})"
            for key, value in expected.items()
            if key in given and given[key].shape != value.shape
        ],
    }
    found = [f"{len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}" for kind, keys in problems.items() if keys]
    if found:
        raise DataError(f"{source}: the tensors do not fit the network: {'; '.join(found)}.")
    return given


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


def state_arrays(net: nn.Module) -> dict[str, NDArray]:
    """Copy a network's tensors into arrays, in the order of its state.

    Returns:
        Name -> array with the shape and dtype of the tensor; counters of batches are left out.
    """
    return {key: value.detach().cpu().contiguous().numpy().copy() for key, value in net.state_dict().items() if not key.endswith(COUNTER)}


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
