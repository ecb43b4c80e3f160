"""Brings a target and what it reads up to date."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from labelseg import __version__
from labelseg.errors import ItemsFailedError, LabelsegError, MissingArtifactError, NotFreshError, UsageError, WaitingError
from labelseg.pipeline.declare.config import Config, require_run_target
from labelseg.pipeline.files.mishaps import MAP_MEMORY, TRAINING_MEMORY, explained, one_line
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids, recorded_classes
from labelseg.pipeline.plan.decisions import Decision, Standing
from labelseg.pipeline.plan.graph import Node, NodeId, ancestors, resolve
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.plan.reasons import Reason
from labelseg.pipeline.plan.runlog import Marker, Markers, RunLog
from labelseg.pipeline.plan.workspace_like import WorkspaceLike
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.report import Action, NodeResult, Report
from labelseg.suggestions import suggestion


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
        workspace: The workspace.
        target: Instance to bring up to date; None takes ``[run] target``.
        split: Split of a target that is a map; None takes ``[run] split`` for the target of ``[run]``, else ``train``.
        params: Parameters of the target, written to the configuration file before the run; under a tag they count for this run only.
        options: How to run.

    Returns:
        What was done. Under ``dry_run`` what would be done, as far as that can be known beforehand.

    Raises:
        UsageError: an unknown instance or parameter.
        LockedError: another process works on the workspace.
        NotFreshError: ``only``, and something that the target reads is not fresh.
        ItemsFailedError: everything ran and some items failed; its attribute ``report`` holds the report.
        WaitingError: a stage waits for a person; its attribute ``report`` holds the report.
        LabelsegError: a stage failed.
    """
    from labelseg.pipeline.files.locks import workspace_lock
    from labelseg.pipeline.store.mending import mend_noted

    options = options or RunOptions()
    lock = nullcontext() if options.dry_run else workspace_lock(workspace.folder, options.purpose, options.wait)
    with lock:
        if not options.dry_run:
            mend_noted(workspace.store)
        return _Run(workspace, target, split, params or {}, options).execute()


class _Run:
    """One run: the nodes in order, how each stands, and what was done."""

    def __init__(
        self, workspace: WorkspaceLike, target: str | None, split: str | None, params: Mapping[str, Any], options: RunOptions
    ) -> None:
        self.workspace = workspace
        self.options = options
        self.params = dict(params)
        self.log = RunLog(workspace.folder)
        self.markers = Markers(workspace.folder)
        self.report = Report(self.log.id)
        self.standings: dict[NodeId, Standing] = {}
        self.lost: dict[NodeId, BaseException] = {}
        config = workspace.config
        target = target or require_run_target(config)
        if options.create:
            config = config.with_instance(target)
        # What is given on the call counts even where the environment says otherwise, so it stays an override after it is written.
        nodes = resolve(config, target, split or config.split_of(target), params)
        self.target = _find(config, nodes, options.until, "--until").id if options.until else nodes[-1].id
        wanted = ancestors(nodes, self.target)
        self.nodes = [node for node in nodes if node.id in wanted]
        self.kept = self._kept()
        for name in options.force:
            _find(config, self.nodes, name, "--force")
        if not (options.tag or options.dry_run) and (params or config is not workspace.config):
            shared = config.shared(target, params)
            if shared:
                workspace.write_config(stage_of(target), shared)
            workspace.write_config(target, {name: value for name, value in params.items() if name not in shared})
        self.planner = Planner(workspace.dataset, workspace.store.catalog, workspace.index, workspace.root, options.tag)

    def execute(self) -> Report:
        """Go through the nodes, parents first."""
        try:
            for node in self.nodes:
                self._visit(node)
        finally:
            if not self.options.dry_run:
                with suppress(OSError):  # digests that cannot be kept are computed again
                    self.workspace.index.save()
        if self.options.dry_run:
            return self.report
        self._raise_failures()
        return self.report

    def _kept(self) -> set[NodeId]:
        """List the nodes that are used as they stand."""
        if self.options.only:
            return {node.id for node in self.nodes} - {self.target}
        if not self.options.from_:
            return set()
        start = _find(self.workspace.config, self.nodes, self.options.from_, "--from")
        starts = {node.id for node in self.nodes if node.instance == start.instance}
        running: set[NodeId] = set()
        for node in self.nodes:
            if node.id in starts or any(parent.node in running for parent in node.parents):
                running.add(node.id)
        return {node.id for node in self.nodes} - running

    def _visit(self, node: Node) -> None:
        """Decide what a node needs and do it."""
        if any(parent.node in self.lost for parent in node.parents):
            culprit = next(parent for parent in node.parents if parent.node in self.lost)
            self.lost[node.id] = self.lost[culprit.node]  # type: ignore[index]
            self._tell(
                NodeResult(instance=node.instance, split=node.split, action="skipped", reasons=(Reason("not-done", culprit.instance),))
            )
            return
        decision = self.planner.decide(node, self.standings)
        if node.id in self.kept:
            self._keep(decision)
            return
        action = self._action(decision)
        if action in ("fresh", "outdated-kept"):
            self._accept(decision, action)
        elif self.options.dry_run:
            self._predict(decision, action)
        else:
            self._work(decision)

    def _action(self, decision: Decision) -> Action:
        """Choose what to do for a node."""
        forced = decision.node.instance in self.options.force
        if decision.state == "fresh" and not forced:
            return "fresh"
        if decision.state == "outdated" and not (forced or self.options.retrain):
            return "outdated-kept"
        return "trained" if decision.node.is_model else "computed"

    def _keep(self, decision: Decision) -> None:
        """Use a node as it stands, or refuse to."""
        node, ref = decision.node, decision.ref
        if self.options.only and decision.state not in ("fresh", "outdated", "failed"):
            why = "; ".join(map(str, decision.reasons))
            raise NotFreshError(f"{self.target.instance} reads {node.id}, which is {decision.state}: {why}. Run: {self._command(node)}")
        if ref is None:
            raise MissingArtifactError(f"{self.target.instance} needs {node.id}, which has never run here. Run: {self._command(node)}")
        then, now = recorded_classes(ref.recipe, str(node.id)), decision.recipe["classes"]
        if mixed_ids(then, now):
            raise NotFreshError(
                f"{self.target.instance} reads {node.id}, which was made with other classes than the data has now: "
                f"{mix_text(then, now)}. Run: labelseg run"
            )
        self.standings[node.id] = Standing(ref.recipe, ref, True)

    def _accept(self, decision: Decision, action: Action) -> None:
        """Take a node as it is."""
        ref = decision.ref
        if ref is None:
            raise MissingArtifactError(f"{decision.node.id} has never run here. Run: {self._command(decision.node)}")
        if action == "fresh" and not self.options.dry_run:
            # What lies upstream may have changed and led to equal bytes; from now on it was made this way.
            recorded = {**decision.recipe, "inputs": decision.inputs}
            standing = self.planner.ref(decision.node.id)
            if ref.recipe != recorded or standing is None or standing.key != ref.key:
                ref = replace(ref, recipe=recorded)
                self._set_ref(ref)
            self.markers.clear(decision.node.id)
        self.standings[decision.node.id] = Standing(decision.recipe, ref, True)
        node = decision.node
        self._tell(NodeResult(instance=node.instance, split=node.split, action=action, reasons=decision.reasons, total=ref.count))

    def _predict(self, decision: Decision, action: Action) -> None:
        """Tell what would be done."""
        from labelseg.pipeline.run.execution import missing_items, reusable

        node = decision.node
        forced = node.instance in self.options.force
        total = len(self.planner.data.ids(node.split)) if not node.is_model else 0
        computed: int | None = None
        if decision.key is not None:
            known = None if forced else reusable(self.workspace.store, decision)
            if known is not None and not known.failed:
                action, computed, total = "reused", 0, len(known.items)
            elif not node.is_model:
                entries, todo = missing_items(self.workspace.store, self.planner, decision, self.standings, forced)
                computed, total = len(todo), len(entries)
                action = "computed" if todo else "reused"
        self.standings[node.id] = Standing(decision.recipe, decision.ref, False)
        result = NodeResult(
            instance=node.instance, split=node.split, action=action, reasons=self._reasons(decision), computed=computed, total=total
        )
        self._tell(result)

    def _work(self, decision: Decision) -> None:
        """Compute or train a node, with a marker that stays if this process is killed."""
        from labelseg.pipeline.run.execution import Execution

        node = decision.node
        started = time.monotonic()
        action = self._action(decision)
        begun = NodeResult(instance=node.instance, split=node.split, action=action, reasons=self._reasons(decision), computed=None)
        self._event("start", begun)
        if not self.log.folder.exists():
            self._log_request()
        self.log.event(
            {"event": "start", "instance": node.instance, "split": node.split, "reasons": [str(reason) for reason in begun.reasons]}
        )
        self.markers.write(node.id, Marker("running", run=self.log.id))
        execution = Execution(self.workspace, self.planner, self.standings, self.log, self.options)
        try:
            with self._told(node):
                done = execution.perform(decision, forced=node.instance in self.options.force)
        except WaitingError as error:
            self._lose(node, begun, "waiting", error, started)
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
        self._set_ref(done.ref)
        self.markers.clear(node.id)
        self.standings[node.id] = Standing(decision.recipe, done.ref, True)
        result = replace(
            begun, action=done.action, computed=done.computed, total=done.ref.count + done.ref.failed,
            failed=done.ref.failed, seconds=round(time.monotonic() - started, 3), error=done.first_error,
        )  # fmt: skip
        self.log.event({"event": "done", **_record(result)})
        self._tell(result)

    def _log_request(self) -> None:
        """Begin the log with what was asked for."""
        asked = {"purpose": self.options.purpose, "target": self.target.instance, "split": self.target.split, "params": self.params}
        self.log.event({"event": "run", **asked, "tag": self.options.tag or "", "version": __version__})

    def _lose(self, node: Node, begun: NodeResult, state: Literal["failed", "waiting"], error: LabelsegError, started: float) -> None:
        """Record that a node did not finish."""
        self.lost[node.id] = error
        error.report = self.report  # type: ignore[attr-defined]
        result = replace(begun, action=state, computed=0, seconds=round(time.monotonic() - started, 3), error=str(error))
        self._mark(node, Marker(state, message=str(error), run=self.log.id))
        self._log_end({"event": state, **_record(result)})
        self._tell(result)

    def _command(self, node: Node) -> str:
        """Write the command that runs a node."""
        return self.workspace.config.command(node.instance, node.split)

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

    @contextmanager
    def _told(self, node: Node) -> Iterator[None]:
        """Tell what the machine does to the work in one line."""
        try:
            yield
        except Exception as error:
            memory = TRAINING_MEMORY if node.is_model else MAP_MEMORY
            told = explained(error, str(node.id), self.workspace.folder, memory)
            if told is None or told is error:
                raise
            raise told from error

    def _set_ref(self, ref: Any) -> None:
        """Make an artifact what its instance stands for, under the tag if there is one."""
        self.workspace.store.catalog.set_ref(ref, self.options.tag or ref.tag or None)

    def _reasons(self, decision: Decision) -> tuple[Reason, ...]:
        """Say why a node is worked on."""
        return decision.reasons or (Reason("forced"),)

    def _tell(self, result: NodeResult) -> None:
        """Add a result to the report and pass it on."""
        self.report.results.append(result)
        self._event("done", result)

    def _event(self, event: Literal["start", "done"], result: NodeResult) -> None:
        """Call the listener."""
        if self.options.on_event is not None:
            self.options.on_event(event, result)

    def _raise_failures(self) -> None:
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


def _find(config: Config, nodes: Sequence[Node], name: str, option: str) -> Node:
    """Find a node by its instance.

    Raises:
        UsageError: none is one; of an instance that stands beside the target, the message names the command that runs it.
    """
    for node in nodes:
        if node.instance == name:
            return node
    if name in config.instances():
        raise UsageError(
            f"{option} {name}: the target does not read it. Run it by itself: {config.command(name, force=option == '--force')}"
        )
    known = [node.instance for node in nodes]
    raise UsageError(f"{option} {name}: the target does not read it.{suggestion(name, known)}")


def _record(result: NodeResult) -> dict[str, Any]:
    """Write a result for the log of the run."""
    return {**vars(result), "reasons": [str(reason) for reason in result.reasons]}


def _short(path: Path) -> str:
    """Write a path relative to the current folder where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
