"""Puts masks in place that no stage has computed, so that a workspace of a million images can be had in minutes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.scale.toy_stages import STAGES
from labelseg.pipeline.engines.messages import MapJob, Message, Task, Written
from labelseg.pipeline.run.planning import planned
from labelseg.pipeline.run.runner import execute
from labelseg.pipeline.store.parts import PartItem
from labelseg.workspace import Workspace

AT_ONCE = 4096


class Placing:
    """Stands in for an engine: the mask of an item is the first bits of its key, and no image is read."""

    def messages(self, job: MapJob, tasks: Sequence[Task], workers: int) -> Generator[Message]:
        """Write items into parts as an engine does."""
        for start in range(0, len(tasks), AT_ONCE):
            items = [PartItem(task.entry.id, task.key, {"mask": key_bits(task.key)}) for task in tasks[start : start + AT_ONCE]]
            places = job.inputs.store.write_part(job.stage, job.header, items)
            yield Written([(item.id, place) for item, place in zip(items, places, strict=True)])

    def account(self, device: str, seconds: float) -> tuple[str, float]:
        """Tell how long that took."""
        return device, seconds


def key_bits(key: str) -> np.ndarray:
    """Turn a key into a mask, (8, 8) uint8 of 0 and 1."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(key[:16]), np.uint8)).reshape(8, 8)


def place_masks(root: Path) -> None:
    """Bring the target of a workspace up to date with masks that were not computed."""
    with planned(Workspace(root, stages=STAGES)) as plan:
        execute(plan, engine=Placing())
