"""Plans of runs: every node in order, how it stands and what will be done for it. A dry run ends here; a run executes the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labelseg.errors import MissingArtifactError, NotFreshError, UsageError
from labelseg.pipeline.declare.config import Config, require_run_target
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids, recorded_classes
from labelseg.pipeline.plan.decisions import Decision, Standing
from labelseg.pipeline.plan.graph import Node, NodeId, ancestors, resolve
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.plan.reasons import Reason, reasons_text
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.prospect import Prospect, look_up
from labelseg.pipeline.run.report import Action, NodeResult, Report
from labelseg.pipeline.store.soundness import Notes
from labelseg.pipeline.store.sweeping import clear_work
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike

IDLE: tuple[Action, ...] = ("fresh", "outdated-kept")


@dataclass(frozen=True)
class Goal:
    """What a run is to reach, before anything on disk is looked at.

    Attributes:
        target: The node to bring up to date.
        nodes: It and all it reads, parents first.
        kept: Those of them whose existing result is used.
        params: Parameters given for this run.
        writes: (table, values) to write to the configuration file before the work.
    """

    target: NodeId
    nodes: tuple[Node, ...]
    kept: frozenset[NodeId]
    params: Mapping[str, Any]
    writes: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Step:
    """One node of a plan.

    Attributes:
        decision: How it stands; without a key where something it reads will change, and then decided anew when its turn comes.
        prospect: What the work can build on; None where there is none, or where that cannot be known yet.
        kept: Whether it is used as it stands, whatever its state.
    """

    decision: Decision
    prospect: Prospect | None = None
    kept: bool = False

    @property
    def is_decided(self) -> bool:
        """Whether the decision stands, whatever the steps before will do."""
        return self.decision.key is not None


@dataclass(frozen=True)
class Plan:
    """A run that is to be executed.

    Attributes:
        workspace: Where.
        goal: What it is to reach.
        options: How.
        planner: What made the decisions; it keeps the digests and items it has seen.
        steps: Every node, parents first.
        standings: How every node stands for those that read it, until it is worked on.
        report: What will be done, as far as that can be known beforehand.
    """

    workspace: WorkspaceLike
    goal: Goal
    options: RunOptions
    planner: Planner
    steps: list[Step] = field(default_factory=list)
    standings: dict[NodeId, Standing] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report(""))


@contextmanager
def planned(
    workspace: WorkspaceLike,
    target: str | None = None,
    split: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
) -> Iterator[Plan]:
    """Hold the workspace and give the plan of a run, to be told and executed before the workspace is let go.

    The plan is made under the lock, so that it cannot be out of date when it is executed; a dry run takes no lock. What is wrong
    with the call itself is told before the lock is asked for.

    Args:
        workspace: The workspace.
        target: Instance to bring up to date; None takes ``[run] target``.
        split: Split of a target that is a map; None takes ``[run] split`` for the target of ``[run]``, else ``train``.
        params: Parameters of the target, written to the configuration file when the plan is executed; under a tag they count for
            this run only.
        options: How to run.

    Raises:
        UsageError: an unknown instance or parameter.
        LockedError: another process works on the workspace.
        MissingArtifactError: something to be used as it stands is not there.
        NotFreshError: ``only``, and something that the target reads is not fresh.
    """
    options = options or RunOptions()
    goal = find_goal(workspace.config, target, split, params or {}, options)
    with nullcontext() if options.dry_run else workspace_lock(workspace.folder, options.purpose, options.wait):
        try:
            if not options.dry_run:
                clear_work(workspace.folder)
                if workspace.remote is not None:
                    workspace.remote.synchronize()
            if not options.dry_run and Notes(workspace.folder).all():
                from labelseg.pipeline.store.mending import mend_noted  # loads the store, which few runs need

                mend_noted(workspace.store)
            yield make_plan(workspace, goal, options)
        finally:
            if not options.dry_run:
                with suppress(OSError):  # digests that cannot be kept are computed again
                    workspace.index.save()


def find_goal(config: Config, target: str | None, split: str | None, params: Mapping[str, Any], options: RunOptions) -> Goal:
    """Find the nodes of a run and what is to be written before it.

    Raises:
        UsageError: an unknown instance or parameter, or one that the target does not read.
    """
    target = target or require_run_target(config)
    # A new instance has no table yet, and needs one whether or not it is given parameters.
    made = config.with_instance(target) if options.create else config
    # What is given on the call counts even where the environment says otherwise, so it stays an override after it is written.
    nodes = resolve(made, target, split or made.split_of(target), params)
    goal = _find(made, nodes, options.until, "--until").id if options.until else nodes[-1].id
    wanted = ancestors(nodes, goal)
    nodes = tuple(node for node in nodes if node.id in wanted)
    kept = _kept(made, nodes, goal, options)
    for name in options.force:
        _find(made, nodes, name, "--force")
    writes: list[tuple[str, Mapping[str, Any]]] = []
    if not (options.tag or options.dry_run) and (params or made is not config):
        shared = made.shared(target, params)
        writes = [(stage_of(target), shared)] if shared else []
        writes.append((target, {name: value for name, value in params.items() if name not in shared}))
    return Goal(goal, nodes, kept, dict(params), tuple(writes))


def make_plan(workspace: WorkspaceLike, goal: Goal, options: RunOptions) -> Plan:
    """Decide about every node, parents first, and tell what will be done.

    Raises:
        UsageError: the tag to publish under keeps something else of the same name.
        MissingArtifactError: something to be used as it stands is not there.
        NotFreshError: ``only``, and something that the target reads is not fresh.
    """
    plan = Plan(workspace, goal, options, Planner(workspace.dataset, workspace.catalog, workspace.index, workspace.root, options.tag))
    standings = plan.standings
    for node in goal.nodes:
        decision = plan.planner.decide(node, standings)
        action = choose_action(decision, options)
        if node.id in goal.kept:
            _demand(workspace.config, goal, decision, options)
            plan.steps.append(Step(decision, kept=True))
            standings[node.id] = as_it_stands(decision)
        elif action in IDLE:
            plan.steps.append(Step(decision))
            standings[node.id] = Standing(decision.recipe, decision.ref, True)
            plan.report.results.append(idle_result(decision, action))
        else:
            forced = node.instance in options.force
            known = decision.key is not None
            prospect = look_up(plan.planner, decision, standings, forced=forced, remote=workspace.remote) if known else None
            plan.steps.append(Step(decision, prospect))
            standings[node.id] = (prospect or Prospect()).standing(decision)
            plan.report.results.append(_expected(plan.planner, decision, action, prospect))
    if options.tag is not None and not options.may_replace:
        _refuse_to_replace(plan, options.tag)
    return plan


def choose_action(decision: Decision, options: RunOptions) -> Action:
    """Choose what to do for a node."""
    forced = decision.node.instance in options.force
    if decision.state == "fresh" and not forced:
        return "fresh"
    if decision.state == "outdated" and not (forced or options.retrain):
        return "outdated-kept"
    return "trained" if decision.node.is_model else "computed"


def as_it_stands(decision: Decision) -> Standing:
    """Take a node as it was made, whatever is asked for now."""
    return Standing(decision.ref.recipe if decision.ref is not None else {}, decision.ref, True)


def standings_below(plan: Plan) -> dict[NodeId, Standing]:
    """Map all but the last node of a plan to how it was made, for work on that one alone."""
    return {step.decision.node.id: as_it_stands(step.decision) for step in plan.steps[:-1]}


def idle_result(decision: Decision, action: Action) -> NodeResult:
    """Tell of a node for which nothing is done."""
    node, ref = decision.node, decision.ref
    total = ref.count if ref is not None else 0
    return NodeResult(instance=node.instance, split=node.split, action=action, reasons=decision.reasons, total=total)


def reasons_of(decision: Decision) -> tuple[Reason, ...]:
    """Say why a node is worked on."""
    return decision.reasons or (Reason("forced"),)


def _expected(planner: Planner, decision: Decision, action: Action, prospect: Prospect | None) -> NodeResult:
    """Tell what will be done for a node."""
    node = decision.node
    total = 0 if node.is_model else len(planner.data.ids(node.split))
    computed: int | None = None
    if prospect is not None and prospect.manifest is not None:
        action, computed, total = "reused", 0, len(prospect.manifest.items)
    elif prospect is not None and prospect.work is not None:
        computed, total = len(prospect.work.todo), len(prospect.work.entries)
        action = "computed" if computed else "reused"
    return NodeResult(instance=node.instance, split=node.split, action=action, reasons=reasons_of(decision), computed=computed, total=total)


def _demand(config: Config, goal: Goal, decision: Decision, options: RunOptions) -> None:
    """Refuse to use a node as it stands where it is not there, is of other classes or, for ``only``, not what is asked for."""
    node = decision.node
    command = config.command(node.instance, node.split)
    if options.only and decision.state not in ("fresh", "outdated", "failed"):
        why = reasons_text(decision.reasons)
        raise NotFreshError(f"{goal.target.instance} reads {node.id}, which is {decision.state}: {why}. Run: {command}")
    if decision.ref is None:
        raise MissingArtifactError(f"{goal.target.instance} needs {node.id}, which has never run here. Run: {command}")
    then, now = recorded_classes(decision.ref.recipe, str(node.id), config.command(*node.id, force=True)), decision.recipe["classes"]
    if mixed_ids(then, now):
        raise NotFreshError(
            f"{goal.target.instance} reads {node.id}, which was made with other classes than the data has now: "
            f"{mix_text(then, now)}. Run: {'labelseg run' if options.from_ else command}"
        )


def _refuse_to_replace(plan: Plan, tag: str) -> None:
    """Refuse a run that would make something else of what a tag keeps, or that cannot know yet whether it would."""
    for step in plan.steps:
        node_id = step.decision.node.id
        there = None if step.kept else plan.workspace.catalog.ref(*node_id, tag)
        if there is not None and there.key != _future_key(step, plan.options):
            raise UsageError(
                f"the tag '{tag}' keeps {node_id} of {there.created}, and this run would put something else in its place. Choose another "
                f"tag, remove this one (labelseg tag --delete {tag}), or let it give way: RunOptions(tag='{tag}', replace_tag=True)"
            )


def _future_key(step: Step, options: RunOptions) -> str | None:
    """Key of what a node will stand for; None where that cannot be known yet."""
    decision, prospect = step.decision, step.prospect
    if choose_action(decision, options) in IDLE:
        return None if decision.ref is None else decision.ref.key
    return decision.key if prospect is None or prospect.manifest is None else prospect.manifest.key


def _kept(config: Config, nodes: Sequence[Node], target: NodeId, options: RunOptions) -> frozenset[NodeId]:
    """List the nodes whose existing result is used."""
    everything = frozenset(node.id for node in nodes)
    if options.only:
        return everything - {target}
    if not options.from_:
        return frozenset()
    start = _find(config, nodes, options.from_, "--from")
    running: set[NodeId] = set()
    for node in nodes:
        if node.instance == start.instance or any(parent.node in running for parent in node.parents):
            running.add(node.id)
    return everything - running


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
