"""Checkpoints of a training: tensors and JSON in one file, written aside and renamed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from labelseg.errors import ArtifactError

_FORMAT = 1


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        iteration: Updates done.
        sums: Losses summed over the updates of the unfinished epoch.
        curves: A record of each finished epoch.
        best_epoch: 0 when there is none yet.
        best_value: Its metric.
        best: Its state, on the CPU.
    """

    iteration: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    best: dict[str, Tensor] | None = None


class Checkpoints:
    """The checkpoint of one training: ``last.safetensors``, and the best state in a file of its own that it names.

    Args:
        folder: Of this training alone; made when the first checkpoint is written.
        identity: JSON that a checkpoint must have in common with the training that goes on from it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, {"format": _FORMAT, **identity}
        self.path = folder / "last.safetensors"
        self._saved_best = 0

    def save(self, progress: Progress, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Write networks by name, optimiser and progress; a run killed here leaves the checkpoint before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        best = self._best(progress.best_epoch)
        if progress.best is not None and progress.best_epoch != self._saved_best:
            _write(best, progress.best, {})
            self._saved_best = progress.best_epoch
        tensors = {f"{role}.{name}": value for role, module in modules.items() for name, value in module.state_dict().items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{name}": value for name, value in values.items() if isinstance(value, Tensor)})
        counters = {
            "iteration": progress.iteration,
            "sums": progress.sums,
            "curves": progress.curves,
            "best_epoch": progress.best_epoch,
            "best_value": progress.best_value,
        }
        _write(self.path, cpu_tensors(tensors), {"identity": self.identity, "progress": counters})
        for old in self.folder.glob("best-*.safetensors"):
            if old != best:
                old.unlink()

    def load(self, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> Progress | None:
        """Restore networks and optimiser from the checkpoint; None when there is none.

        Raises:
            ArtifactError: the checkpoint cannot be read or is of another training.
        """
        if not self.path.exists():
            return None
        tensors, record = _read(self.path)
        if record.get("identity") != self.identity:
            raise ArtifactError(f"{self.path} is of another training. Delete {self.folder} to start afresh.")
        progress = Progress(**record["progress"])
        if progress.best_epoch:
            progress.best, self._saved_best = _read(self._best(progress.best_epoch))[0], progress.best_epoch
        for role, module in modules.items():
            own = f"{role}."
            module.load_state_dict({name.removeprefix(own): value for name, value in tensors.items() if name.startswith(own)})
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        return progress

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.safetensors"


def cpu_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU in the plain memory layout, shapes and dtypes as they are."""
    return {name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for name, value in tensors.items()}


def _write(path: Path, tensors: dict[str, Tensor], record: Mapping[str, Any]) -> None:
    """Put a file in place whole or not at all."""
    aside = path.with_suffix(".tmp")
    save_file(tensors, aside, metadata={"record": json.dumps(record)})
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["record"])  # noqa: SIM118
    except (SafetensorError, FileNotFoundError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path} is not a readable checkpoint ({error}). Delete {path.parent} to start afresh.") from error
