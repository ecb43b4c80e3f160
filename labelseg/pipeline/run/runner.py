"""Brings a target and what it reads up to date."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelseg import __version__
from labelseg.answers.answer_files import answered_bytes
from labelseg.errors import ItemsFailedError, LabelsegError, MissingArtifactError, WaitingError
from labelseg.pipeline.engines.engine import Engine
from labelseg.pipeline.engines.interruption import raise_if_heard
from labelseg.pipeline.files.mishaps import MAP_MEMORY, TRAINING_MEMORY, keep_finished, one_line, told_in_one_line
from labelseg.pipeline.plan.decisions import Decision, Standing
from labelseg.pipeline.plan.graph import Node, NodeId
from labelseg.pipeline.plan.reasons import Reason
from labelseg.pipeline.plan.runlog import Marker, Markers, RunLog
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.planning import IDLE, Plan, Step, as_it_stands, choose_action, idle_result, planned, reasons_of
from labelseg.pipeline.run.prospect import Prospect, look_up
from labelseg.pipeline.run.report import Action, NodeResult, Report
from labelseg.pipeline.store.manifests import Ref

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike

Listener = Callable[[Literal["start", "done"], NodeResult], None]


def run(
    workspace: WorkspaceLike,
    target: str | None = None,
    split: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
) -> Report:
    """Bring a target and everything it reads up to date, computing only what is not there.

    Args:
        workspace, target, split, params, options: As for ``planned``.

    Returns:
        What was done. Under ``dry_run`` what would be done, as far as that can be known beforehand.

    Raises:
        LabelsegError: as ``planned`` and ``execute``.
    """
    with planned(workspace, target, split, params=params, options=options) as plan:
        return plan.report if plan.options.dry_run else execute(plan)


def execute(plan: Plan, on_event: Listener | None = None, engine: Engine | None = None) -> Report:
    """Do what a plan says, while its workspace is held. What it could not decide is decided when its turn comes, the rest is not again.

    Args:
        plan: The plan; it serves once.
        on_event: Called with ``start`` when work on a node begins and ``done`` when a node is done; None takes that of the options.
        engine: What computes the items of maps; None takes that of the options.

    Returns:
        What was done.

    Raises:
        ItemsFailedError: everything ran and some items failed; its attribute ``report`` holds the report.
        WaitingError: a stage waits for a person; its attribute ``report`` holds the report.
        UnreachableError: all is done, and not all of it could be published to the object store; the next run does that.
        OvertakenError: another machine published something else there.
        LabelsegError: a stage failed.
    """
    for table, values in plan.goal.writes:
        plan.workspace.write_config(table, values)
    run = _Run(plan, on_event or plan.options.on_event, engine)
    try:
        for step in plan.steps:
            run.visit(step)
    finally:
        with suppress(OSError):  # what ended the work is to be told
            run.log.end()
    run.raise_failures()
    if plan.workspace.remote is not None:
        plan.workspace.remote.settle()
    return run.report


class _Run:
    """One run: how each node stands, and what was done."""

    def __init__(self, plan: Plan, on_event: Listener | None, engine: Engine | None) -> None:
        self.plan = plan
        self.workspace = plan.workspace
        self.options: RunOptions = plan.options
        self.planner = plan.planner
        self.on_event = on_event
        self.engine = engine
        self.log = RunLog(plan.workspace.folder)
        self.markers = Markers(plan.workspace.folder)
        self.report = Report(self.log.id)
        self.standings: dict[NodeId, Standing] = {}
        self.lost: dict[NodeId, BaseException] = {}
        self.worked: set[str] = set()

    def visit(self, step: Step) -> None:
        """Do what a node needs."""
        raise_if_heard()
        node = step.decision.node
        if step.kept:
            self.standings[node.id] = as_it_stands(step.decision)
            return
        culprit = next((parent for parent in node.parents if parent.node in self.lost), None)
        if culprit is not None:
            self.lost[node.id] = self.lost[culprit.node]  # type: ignore[index]
            reason = Reason("not-done", culprit.instance)
            self._tell(NodeResult(instance=node.instance, split=node.split, action="skipped", reasons=(reason,)))
            return
        decision = step.decision if step.is_decided else self.planner.decide(node, self.standings)
        action = choose_action(decision, self.options)
        if action in IDLE:
            self._accept(decision, action)
        else:
            self._work(step, decision, action)

    def _accept(self, decision: Decision, action: Action) -> None:
        """Take a node as it is."""
        ref = decision.ref
        if ref is None:
            raise MissingArtifactError(f"{decision.node.id} has never run here. Run: {self.workspace.config.command(*decision.node.id)}")
        standing = self.planner.ref(decision.node.id)
        is_another = standing is None or standing.key != ref.key
        if action == "fresh":
            # What lies upstream may have changed and led to equal bytes; from now on it was made this way.
            recorded = {**decision.recipe, "inputs": decision.inputs}
            if ref.recipe != recorded or is_another:
                ref = replace(ref, recipe=recorded)
                self._set_ref(ref)
            self.markers.clear(decision.node.id)
        elif is_another:  # an outdated model of old parameters serves again
            self._set_ref(ref)
        self.standings[decision.node.id] = Standing(decision.recipe, ref, True)
        self._tell(idle_result(decision, action))

    def _work(self, step: Step, decision: Decision, action: Action) -> None:
        """Compute or train a node, with a marker that stays if this process is killed."""
        from labelseg.pipeline.run.execution import Execution

        node = decision.node
        keep_finished()
        started = time.monotonic()
        answered = answered_bytes(self.workspace.root, node.asked) if node.asked else -1
        begun = NodeResult(instance=node.instance, split=node.split, action=action, reasons=reasons_of(decision), computed=None)
        self._event("start", begun)
        if not self.log.folder.exists():
            self._log_request()
        self.log.event(
            {"event": "start", "instance": node.instance, "split": node.split, "reasons": [str(reason) for reason in begun.reasons]}
        )
        self.markers.write(node.id, Marker("running", run=self.log.id))
        execution = Execution(self.workspace, self.planner, self.standings, self.log, self.options, self.engine)
        try:
            with told_in_one_line(str(node.id), self.workspace.folder, TRAINING_MEMORY if node.is_model else MAP_MEMORY):
                done = execution.perform(decision, self._prospect(step, decision), forced=node.instance in self.options.force)
        except WaitingError as error:
            self._lose(node, begun, "waiting", error, started, answered)
            return
        except LabelsegError as error:
            self._lose(node, begun, "failed", error, started)
            if not self.options.keep_going:
                raise
            return
        except KeyboardInterrupt:
            self._mark(node, Marker("failed", message="interrupted", run=self.log.id))
            self._log_end({"event": "interrupted", "instance": node.instance, "split": node.split})
            raise
        except Exception as error:
            self._mark(node, Marker("failed", message=one_line(error), run=self.log.id))
            self._log_end({"event": "failed", "instance": node.instance, "split": node.split, "error": one_line(error)})
            raise
        self.worked.add(node.stage.name)
        self._set_ref(done.ref)
        self.markers.clear(node.id)
        self.standings[node.id] = Standing(decision.recipe, done.ref, True)
        result = replace(
            begun, action=done.action, computed=done.computed, total=done.ref.count + done.ref.failed,
            failed=done.ref.failed, seconds=round(time.monotonic() - started, 3), error=done.first_error,
        )  # fmt: skip
        self.log.event({"event": "done", **_record(result)})
        self._tell(result)

    def _prospect(self, step: Step, decision: Decision) -> Prospect:
        """Take what the plan found, unless another instance of the stage has made items since that serve here too."""
        if step.prospect is not None and decision.node.stage.name not in self.worked:
            return step.prospect
        forced = decision.node.instance in self.options.force
        return look_up(self.planner, decision, self.standings, forced=forced, remote=self.workspace.remote)

    def _log_request(self) -> None:
        """Begin the log with what was asked for."""
        goal = self.plan.goal
        asked = {"purpose": self.options.purpose, "target": goal.target.instance, "split": goal.target.split, "params": dict(goal.params)}
        self.log.event({"event": "run", **asked, "tag": self.options.tag or "", "version": __version__})

    def _lose(
        self, node: Node, begun: NodeResult, state: Literal["failed", "waiting"], error: LabelsegError, started: float, answered: int = -1
    ) -> None:
        """Record that a node did not finish."""
        self.lost[node.id] = error
        error.report = self.report  # type: ignore[attr-defined]
        result = replace(begun, action=state, computed=0, seconds=round(time.monotonic() - started, 3), error=str(error))
        self._mark(node, Marker(state, message=str(error), run=self.log.id, answered=answered))
        self._log_end({"event": state, **_record(result)})
        self._tell(result)

    def _mark(self, node: Node, marker: Marker) -> None:
        """Leave behind why a node did not finish, if there is room for it, and still a workspace."""
        with suppress(OSError):
            if self.workspace.folder.is_dir():
                self.markers.write(node.id, marker)

    def _log_end(self, values: Mapping[str, Any]) -> None:
        """Log how it ended, likewise: the error itself is what is to be told."""
        with suppress(OSError):
            if self.workspace.folder.is_dir():
                self.log.event(values)

    def _set_ref(self, ref: Ref) -> None:
        """Make an artifact what its instance stands for, under the tag if there is one."""
        tag = self.options.tag or ref.tag or None
        self.workspace.catalog.set_ref(ref, tag)
        if self.workspace.remote is not None:
            self.workspace.remote.publish(self.workspace.catalog.ref_path(ref.instance, ref.split, tag))

    def _tell(self, result: NodeResult) -> None:
        """Add a result to the report and pass it on."""
        self.report.results.append(result)
        self._event("done", result)

    def _event(self, event: Literal["start", "done"], result: NodeResult) -> None:
        """Call the listener."""
        if self.on_event is not None:
            self.on_event(event, result)

    def raise_failures(self) -> None:
        """Raise what is to be known at the end: a failed stage, then one that waits, then failed items."""
        errors = list(dict.fromkeys(self.lost.values()))
        for error in sorted(errors, key=lambda e: isinstance(e, WaitingError)):
            raise error
        if self.report.failed_items:
            first = next(r for r in self.report.results if r.failed)
            where = self.log.folder / "failed.jsonl"
            count = self.report.failed_items
            failure = ItemsFailedError(
                f"{count:,} {'item' if count == 1 else 'items'} failed, the first in {first.instance}: {first.error.rstrip('.')}. "
                f"All are listed in {_short(where)}. Repair or remove them and run again: nothing else is computed again."
            )
            failure.report = self.report  # type: ignore[attr-defined]
            raise failure


def _record(result: NodeResult) -> dict[str, Any]:
    """Write a result for the log of the run."""
    return {**vars(result), "reasons": [str(reason) for reason in result.reasons]}


def _short(path: Path) -> str:
    """Write a path relative to the current folder where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
