"""How long work will take, tried: an image of a map, some updates of a training. Nothing of the workspace changes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from labelseg.errors import LabelsegError
from labelseg.pipeline.engines.engine import share_out
from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.plan.decisions import Decision
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.plan.runlog import RunLog
from labelseg.pipeline.run.execution import Execution
from labelseg.pipeline.run.planning import Plan
from labelseg.pipeline.run.prospect import MapWork
from labelseg.protocols import Bar

UPDATES = 3  # of a training, after one that loads and compiles


class _Probed(BaseException):
    """Ends a training when enough was seen; no stage takes it for an error of its own."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Clock:
    """Counts updates in the place of a progress bar, and ends the training after some.

    Args:
        total: Updates of the whole training.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._begun = 0.0

    def update(self, n: int, /) -> None:
        """Take the time of updates, from the end of the first one."""
        self._count += n
        if self._count == n:
            self._begun = time.perf_counter()
        if self._count >= min(1 + UPDATES, self._total):
            seconds = time.perf_counter() - self._begun
            raise _Probed(seconds / max(self._count - 1, 1) * self._total)


@dataclass(frozen=True)
class _ProbedInputs(Inputs):
    """The inputs of a stage that is only tried."""

    def log(self, values: Mapping[str, Any]) -> None:
        """Write nothing."""

    def progress(self, total: int, desc: str, done: int = 0) -> AbstractContextManager[Bar]:
        """Count with a clock."""

        @contextmanager
        def clock() -> Iterator[Bar]:
            yield _Clock(total)

        return clock()


def probe(plan: Plan) -> dict[NodeId, float]:
    """Try what a plan can begin with at once: all that reads nothing that is still to be made.

    Of a map an image is computed twice, and the second time counts; a training makes four updates, and the last three count. Evaluations
    within a training, reading and writing are left out. What fails is left out too: the run will tell.

    Args:
        plan: Of a dry run.

    Returns:
        Node -> seconds that the work on it will take.
    """
    execution = Execution(plan.workspace, plan.planner, plan.standings, RunLog(plan.workspace.folder), plan.options)
    found = {}
    for step in plan.steps:
        node, work = step.decision.node, None if step.prospect is None else step.prospect.work
        if step.kept or step.prospect is None or step.prospect.manifest is not None:
            continue
        try:
            if node.is_model:
                found[node.id] = _training(plan, execution, step.decision)
            elif work is not None and work.todo:
                found[node.id] = len(work.todo) * _image(plan, execution, step.decision, work)
        except (LabelsegError, OSError):
            continue
    return found


def _tried(execution: Execution, decision: Decision, devices: str, **others: Any) -> Inputs:
    """The inputs of a node for a trial."""
    inputs = execution.inputs(decision, devices, 0)
    return _ProbedInputs(**{**{field.name: getattr(inputs, field.name) for field in fields(Inputs)}, **others})


def _training(plan: Plan, execution: Execution, decision: Decision) -> float:
    """Seconds of a training by some of its updates."""
    node, started = decision.node, time.perf_counter()
    device = plan.workspace.pick_device(plan.options.device.split(",")[0])
    with tempfile.TemporaryDirectory(prefix="labelseg-probe-") as folder:
        inputs = _tried(execution, decision, device, entries=execution.entries(node), checkpoints=Path(folder) / "checkpoints")
        try:
            node.stage.run(inputs, execution.params(decision))
        except _Probed as probed:
            return probed.seconds
    return time.perf_counter() - started  # it was through before


def _image(plan: Plan, execution: Execution, decision: Decision, work: MapWork) -> float:
    """Seconds an image of a map, shared among the workers that the run will have."""
    node, todo = decision.node, work.todo
    device = execution.map_device(node)
    inputs = _tried(execution, decision, device)
    compute = node.stage.run(inputs, execution.params(decision))
    before = plan.workspace.set_threads(1)  # as workers do
    try:
        item = inputs.item(todo[len(todo) // 2])
        compute(item)
        started = time.perf_counter()
        compute(item)
        return (time.perf_counter() - started) / max(share_out(len(todo), device, plan.options.workers), 1)
    finally:
        if before:
            plan.workspace.set_threads(before)
