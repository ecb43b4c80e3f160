"""Checkpoints of a training: tensors and JSON in one file with a seal over all of it, written aside and renamed.

The one before the last is kept: where the last is damaged a training goes on from there, to the same weights.
"""

from __future__ import annotations

import json
import logging
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

from labelseg.errors import DamageError
from labelseg.pipeline.files.seals import BLANK, intact_tensors, seal_tensors

_FORMAT = 1
logger = logging.getLogger(__name__)


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
    """The checkpoints of one training: ``last.safetensors``, ``before.safetensors``, and the best states that they name.

    Args:
        folder: Of this training alone; made when the first checkpoint is written.
        identity: JSON that a checkpoint must have in common with the training that goes on from it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, {"format": _FORMAT, **identity}
        self.path = folder / "last.safetensors"
        self._before = folder / "before.safetensors"
        # The key of the training, which two of equal settings on other images do not share.
        self._training = f"{folder.parent.name}/{folder.name}"
        self._saved_best = 0
        self._best_before = 0
        self._last_is_sound = False

    def save(self, progress: Progress, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Write networks by name, optimiser and progress; a run killed here leaves the checkpoint before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        best = self._best(progress.best_epoch)
        before, self._best_before = self._best(self._best_before), progress.best_epoch
        if progress.best is not None and progress.best_epoch != self._saved_best:
            _write(best, progress.best, {"training": self._training, "epoch": progress.best_epoch})
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
        record = {"training": self._training, "identity": self.identity, "progress": counters}
        _write(self.path, cpu_tensors(tensors), record, self._before if self._last_is_sound else None)
        self._last_is_sound = True
        for old in self.folder.glob("best-*.safetensors"):
            if old not in (best, before):
                old.unlink()

    def load(self, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> Progress | None:
        """Restore networks and optimiser from the newest checkpoint that is sound; None when there is none. Damaged ones are told."""
        for path in (self.path, self._before):
            if path.exists():
                try:
                    tensors, progress = self._load(path)
                except DamageError as error:
                    logger.warning("%s The training goes on from what there is before.", error)
                else:
                    self._restore(tensors, modules, optimizer)
                    self._last_is_sound = path == self.path
                    return progress
        return None

    def _load(self, path: Path) -> tuple[dict[str, Tensor], Progress]:
        """Read a checkpoint and the best state that it names.

        Raises:
            DamageError: one of them is not what was written, or of another training.
        """
        tensors, record = _read(path)
        if record.get("identity") != self.identity or record.get("training", self._training) != self._training:
            raise DamageError(f"{path} is of another training.")
        progress = Progress(**record["progress"])
        if progress.best_epoch:
            best = self._best(progress.best_epoch)
            progress.best, of_best = _read(best)
            found = of_best.get("training", self._training), of_best.get("epoch", progress.best_epoch)
            if found != (self._training, progress.best_epoch):
                raise DamageError(f"{best} is of another training, or another epoch of this one.")
            self._saved_best = self._best_before = progress.best_epoch
        return tensors, progress

    @staticmethod
    def _restore(tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Put tensors where they belong."""
        for role, module in modules.items():
            own = f"{role}."
            module.load_state_dict({name.removeprefix(own): value for name, value in tensors.items() if name.startswith(own)})
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.safetensors"


def cpu_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU in the plain memory layout, shapes and dtypes as they are."""
    return {name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for name, value in tensors.items()}


def _write(path: Path, tensors: dict[str, Tensor], record: Mapping[str, Any], before: Path | None = None) -> None:
    """Put a file in place whole or not at all; what was there goes to ``before``."""
    aside = path.with_suffix(".tmp")
    save_file(tensors, aside, metadata={"record": json.dumps(record), "seal": BLANK})
    seal_tensors(aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    if before is not None:
        path.replace(before)
    aside.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the record of a file.

    Raises:
        DamageError: it is not what was written.
    """
    try:
        intact_tensors(path)
        with safe_open(path, framework="pt") as file:
            # What is read is a window on the file; a copy stays what it is, whatever becomes of that.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, json.loads(file.metadata()["record"])  # noqa: SIM118
    except (SafetensorError, FileNotFoundError, TypeError, KeyError, ValueError) as error:
        raise DamageError(f"{path} is not a readable checkpoint ({error}).") from error
