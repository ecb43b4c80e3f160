"""Running a target: the plan before, a line for each node as it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from labelseg.commands.context import Invocation, no_wait, talk
from labelseg.commands.tables import format_table, percent, seconds_text
from labelseg.pipeline.plan.reasons import causes, reasons_text
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.report import NodeResult, Report
from labelseg.results.outlook import node_findings

if TYPE_CHECKING:
    from labelseg.workspace import Workspace

DEVICE_OPTIONS = (
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Device to compute on: auto, cpu, cuda, cuda:1; for a training also several: cuda:0,1.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        metavar="N",
        show_default="cores for maps, 0 for loading",
        help="Processes of map stages and of image loading; 0 works in this one.",
    ),
)
RUN_OPTIONS = (
    click.option("--retrain", is_flag=True, help="Train models again whose images changed."),
    click.option("--dry-run", is_flag=True, help="Only list what would be done, and why."),
    click.option("--keep-going", is_flag=True, help="When a stage fails, go on with what does not read it."),
    *DEVICE_OPTIONS,
    no_wait,
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every run has."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return command


def with_device(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what computes."""
    for option in reversed(DEVICE_OPTIONS):
        command = option(command)
    return command


def carry_out(invocation: Invocation, target: str | None, split: str | None, params: Mapping[str, Any], options: RunOptions) -> None:
    """Bring a target up to date; tell first what will run and why.

    Raises:
        LabelsegError: as ``labelseg.pipeline.run.runner.run``.
    """
    from labelseg.pipeline.run.planning import planned
    from labelseg.pipeline.run.runner import execute

    workspace = invocation.workspace()
    options = replace(options, wait=invocation.wait)
    count = done = 0

    def tell(event: Literal["start", "done"], result: NodeResult) -> None:
        nonlocal done
        if event == "start":
            done += 1
            talk(f"[{done}/{max(count, done)}] {_name(result)} ...")
        elif result.action not in ("fresh", "outdated-kept"):
            talk(f"      {_name(result)}: {_outcome(workspace, result, options.tag)}")

    with planned(workspace, target, split, params=params, options=options) as plan:
        if plan.report.work or options.dry_run:
            nodes = [(node.stage, node.params) for node in plan.goal.nodes]
            for finding in node_findings(workspace.dataset, nodes, quick=not options.dry_run):
                talk(str(finding))
        if options.dry_run:
            click.echo(plan_text(plan.report))
            return
        talk(plan_text(plan.report))
        count = len(plan.report.work)
        execute(plan, tell)


def plan_text(plan: Report) -> str:
    """Write what a run will do and why, node by node."""
    kept = [
        f"{_name(r)} is kept although outdated: {reasons_text(r.reasons)}. To train it again: --retrain"
        for r in plan.results
        if r.action == "outdated-kept"
    ]
    if not plan.work:
        return "\n".join([*kept, f"{_name(plan.results[-1])} is fresh: nothing to do."])
    whys = causes((result.instance, result.reasons) for result in plan.work)
    rows = [(_name(result), _intention(result), why) for result, why in zip(plan.work, whys, strict=True)]
    return "\n".join([format_table(("TO DO", "WORK", "WHY"), rows), *kept])


def _name(result: NodeResult) -> str:
    """Name a node: ``cam (train)``."""
    return f"{result.instance} ({result.split})" if result.split else result.instance


def _intention(result: NodeResult) -> str:
    """Say in a few words what will be done."""
    if result.action == "computed" and result.computed is not None:
        return f"{result.computed:,} of {result.total:,} images"
    if result.action == "computed":
        return f"up to {result.total:,} images"
    return {"trained": "train", "reused": "reuse an earlier result", "skipped": "skip"}.get(result.action, result.action)


def _outcome(workspace: Workspace, result: NodeResult, tag: str | None) -> str:
    """Say in a few words what was done."""
    if result.action in ("failed", "waiting"):
        return f"{result.action}: {result.error}"
    if result.action == "skipped":
        return f"skipped: {reasons_text(result.reasons)}"
    if result.action == "reused":
        return "reused an earlier result"
    if result.action == "trained":
        return f"trained in {seconds_text(result.seconds)}{_metrics(workspace, result, tag)}"
    failed = f", {result.failed:,} failed" if result.failed else ""
    return f"{result.computed or 0:,} images in {seconds_text(result.seconds)}{failed}"


def _metrics(workspace: Workspace, result: NodeResult, tag: str | None) -> str:
    """Write the scores of a model that was just trained."""
    stage = workspace.config.stage(result.instance)
    ref = workspace.ref(result.instance, "", tag)
    manifest = None if ref is None else workspace.catalog.load(stage.name, ref.key)
    last = {} if manifest is None else manifest.meta["metrics"].get("last", {})
    scores = [f"{name} {percent(value)}" for name, value in last.items() if name in ("mAP", "mIoU")]
    return f", {', '.join(scores)}" if scores else ""
