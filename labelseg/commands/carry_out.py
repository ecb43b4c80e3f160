"""Running a target: the plan before, a line for each node as it is done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from labelseg.commands.advice import show_command
from labelseg.commands.context import Invocation, no_wait, talk, tell
from labelseg.commands.plan_text import done_word, is_imported, node_name, plan_text
from labelseg.commands.tables import format_table, percent
from labelseg.errors import ItemsFailedError, UsageError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.instances import command_on, stage_of, table_of
from labelseg.pipeline.plan.reasons import reasons_text
from labelseg.pipeline.run.options import ENGINES, RunOptions
from labelseg.pipeline.run.report import NodeResult, Report
from labelseg.results.facts import kept_metrics
from labelseg.results.history import paces
from labelseg.results.outlook.findings import demand_masks, node_findings
from labelseg.wording import counted, seconds_text, some_of

if TYPE_CHECKING:
    from labelseg.commands.expectations import Space
    from labelseg.pipeline.declare.config import Config
    from labelseg.pipeline.plan.graph import Node
    from labelseg.pipeline.run.planning import Plan
    from labelseg.pipeline.store.manifests import Manifest
    from labelseg.workspace import Workspace

# Where a network that was taken in stands in for one that is trained here.
PLACES = {
    "classifier": "cam.model",
    "affinity-net": "propagate.affinity",
    "boundary-net": "propagate.affinity",
    "segmenter": "segment.model",
}

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
        show_default="cores for maps, this one for maps on a GPU and for loading",
        help="Processes of map stages and of image loading; 0 works in this one.",
    ),
)
ENGINE_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="local",
        show_default=True,
        help="What computes the items of maps: workers of this machine, or those of Dask; trainings run here.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        show_default="workers on this machine",
        help="Scheduler of --engine dask, such as tcp://10.0.0.1:8786; its workers see this folder under the same path.",
    ),
)
RUN_OPTIONS = (
    click.option("--retrain", is_flag=True, help="Train models again whose images changed."),
    click.option("--dry-run", is_flag=True, help="Only list what would be done, and why."),
    click.option(
        "--probe",
        is_flag=True,
        help="With --dry-run: try an image of each map and some updates of each training that can begin at once, for better estimates.",
    ),
    click.option("--keep-going", is_flag=True, help="When a stage fails, go on with what does not read it."),
    *DEVICE_OPTIONS,
    *ENGINE_OPTIONS,
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


def carry_out(
    invocation: Invocation,
    target: str | None,
    split: str | None,
    params: Mapping[str, Any],
    options: RunOptions,
    *,
    closing: bool = True,
    partial: bool = False,
    probe: bool = False,
) -> None:
    """Bring a target up to date; tell first what will run and why, and at the end, if ``closing``, what was made and what is next.

    Args:
        invocation: The call.
        target, split, params, options: As for ``labelseg.pipeline.run.runner.run``.
        closing: Whether to tell what was made and what is next.
        partial: Whether it is enough that some images failed and others did not: that is told, and raises nothing.
        probe: Whether a dry run tries how long the work takes.

    Raises:
        LabelsegError: as ``labelseg.pipeline.run.runner.run``.
    """
    if probe and not options.dry_run:
        raise UsageError("--probe tries how long the work will take, and does not do it. Add --dry-run")
    from labelseg.pipeline.run.planning import planned
    from labelseg.pipeline.run.runner import execute

    workspace = invocation.workspace()
    options = replace(options, wait=invocation.wait)
    count = done = warned = 0

    def follow(event: Literal["start", "done"], result: NodeResult) -> None:
        nonlocal done
        if event == "start":
            done += 1
            talk(f"[{done}/{max(count, done)}] {node_name(result)} ...")
        elif result.action not in ("fresh", "outdated-kept"):
            talk(f"      {node_name(result)}: {_outcome(workspace, result, options.tag)}")

    with planned(workspace, target, split, params=params, options=options) as plan:
        if plan.report.work or options.dry_run:
            nodes = [(node.stage, node.params) for node in plan.goal.nodes]
            for finding in node_findings(workspace.dataset, nodes, quick=not options.dry_run):
                talk(str(finding))
                warned += finding.level != "note"
        if not options.dry_run:
            working = {(result.instance, result.split) for result in plan.report.work}
            demand_masks(workspace.dataset, [node for node in plan.goal.nodes if tuple(node.id) in working])
        known = paces(workspace.folder) if plan.report.work else {}
        scaled = _scaled(workspace, plan.goal.nodes, plan.report, options.workers) if options.dry_run and plan.report.work else {}
        if options.dry_run:
            tried = _tried(plan) if probe and plan.report.work else {}
            tell(plan_text(plan.report, known, scaled, _space(workspace, plan.report, known, options.workers), tried))
            return
        talk(plan_text(plan.report, known))
        count = len(plan.report.work)
        if slow := slow_precision(workspace, [node for node in plan.goal.nodes if tuple(node.id) in working], options.device):
            talk(slow)
        try:
            report = execute(plan, follow)
        except ItemsFailedError as error:
            if closing:
                talk(closing_text(workspace, error.report))  # type: ignore[attr-defined]
            if not partial:
                raise
            talk(str(error))
            return
    if closing and report.work and options.tag is None:
        talk(closing_text(workspace, report))
        if warned:
            hold, them = ("holds", "it") if warned == 1 else ("hold", "them")
            talk(f"{counted(warned, 'warning')} above the plan still {hold}. To see {them} again: labelseg doctor")


def slow_precision(workspace: Workspace, nodes: list[Node], device: str) -> str:
    """Warn where stages are asked for a precision that what computes has to emulate; empty where none is."""
    mixed = [node.id.instance for node in nodes if getattr(node.params, "precision", "") == "bf16-mixed"]
    if not mixed:
        return ""
    from labelseg.models.devices import emulates_bfloat16

    if not emulates_bfloat16(workspace.pick_device(device.split(",")[0])):
        return ""
    return (
        f"warning: precision bf16-mixed of {some_of(mixed)}: this processor emulates bfloat16, some ten times slower than float32. "
        f"Unless these results must be equal to earlier ones: {command_on('config', f'{table_of(mixed[0])}.precision', '', '32-true')}"
    )


def _images(report: Report) -> dict[tuple[str, str], int]:
    """Map each node that is worked on to how many images that is."""
    work = (result for result in report.work if result.action == "computed")
    return {(r.instance, r.split): r.total if r.computed is None else r.computed for r in work}


def _space(workspace: Workspace, report: Report, known: Mapping[str, float], workers: int | None) -> dict[tuple[str, str], Space]:
    """Estimate what disk the maps will take."""
    from labelseg.commands.expectations import expected_space

    return expected_space(workspace.catalog, _images(report), workers, known)


def _scaled(workspace: Workspace, nodes: Iterable[Node], report: Report, workers: int | None) -> dict[tuple[str, str], float]:
    """Estimate what no run here has measured."""
    from labelseg.commands.expectations import scaled_seconds

    return scaled_seconds(workspace.dataset, nodes, _images(report), workers)


def _tried(plan: Plan) -> dict[tuple[str, str], float]:
    """Try how long the work of a plan takes."""
    from labelseg.pipeline.run.probing import probe

    talk("Trying what can begin at once: an image of a map, some updates of a training ...")
    return {(node.instance, node.split): seconds for node, seconds in probe(plan).items()}


def closing_text(workspace: Workspace, report: Report) -> str:
    """Write what a run made, how long it took, where that is, and what to do next."""
    made = [result for result in report.work if result.action in ("computed", "trained", "reused")]
    last = report.results[-1]
    rows = [
        (node_name(result), "" if result.action == "reused" else seconds_text(result.seconds), _made(workspace, result)) for result in made
    ]
    total = f"Total: {seconds_text(sum(result.seconds for result in report.work))}."
    if last.action in ("failed", "waiting", "skipped"):
        return "\n".join([format_table(("DONE", "TIME", "RESULT"), rows, right=("TIME",)), total])
    stage = workspace.stages[stage_of(last.instance)]
    if stage.kind == "model":
        lines = [f"Next: {command_on('show', last.instance)}, or {_next_step(workspace, last)}"]
    elif stage.has_masks:
        files = command_on("export", last.instance, last.split, "-o", "DIR")
        lines = [f"The masks of {node_name(last)} are kept in {workspace.folder}. As files: {files}"]
        lines += next_labels(workspace.config, last)
        lines.append(f"Next: {_next_look(workspace, last)}{_next_use(workspace, last, stage)}")
    elif stage.asks:
        lines = [f"Next: {command_on('annotate', last.instance, last.split)}"]
    else:
        lines = [f"Next: {command_on('show', last.instance, last.split)}, or labelseg run"]
    return "\n".join([format_table(("DONE", "TIME", "RESULT"), rows, right=("TIME",)), total, *lines])


def _made(workspace: Workspace, result: NodeResult) -> str:
    """Say what was made of a node."""
    if workspace.stages[stage_of(result.instance)].kind == "model":
        return "a model"
    failed = f", {result.failed:,} failed" if result.failed else ""
    return f"{counted(result.total - result.failed, 'image')}{failed}"


def _next_step(workspace: Workspace, result: NodeResult) -> str:
    """Name the command that goes on from a model: one that was taken in is read by nothing until somebody says so."""
    manifest = _manifest(workspace, result) if is_imported(result.instance) else None
    setting = PLACES.get(manifest.meta.get("model", {}).get("network"), "") if manifest else ""
    reader, _, param = setting.partition(".")
    if setting and getattr(workspace.config.params(reader), param) != result.instance:
        return f"to have it read in the place of a training: labelseg config {setting} {shlex.quote(result.instance)}"
    return "labelseg run"


def _manifest(workspace: Workspace, result: NodeResult, tag: str | None = None) -> Manifest | None:
    """What is recorded of what was made; None where nothing is, as of what was tried with ``--no-save``."""
    ref = workspace.ref(result.instance, "", tag)
    return None if ref is None else workspace.catalog.load(stage_of(result.instance), ref.key)


def _next_look(workspace: Workspace, result: NodeResult) -> str:
    """Name the command that shows how good masks are."""
    ids = workspace.dataset.ids(result.split)
    if any(workspace.dataset.has(image_id, "mask") for image_id in ids):
        return "labelseg evaluate"
    return show_command(result.instance, ids[0], result.split, "--plot", "sheet.png")


def next_labels(config: Config, result: NodeResult) -> list[str]:
    """Name the commands that make masks of the training images with their tags, where instances beside the result are set up for that."""
    lines, known = [], config.instances()
    for instance in known:
        if instance == result.instance or stage_of(instance) != stage_of(result.instance):
            continue
        params = config.params(instance)
        if getattr(params, "tags", "") == "given" and params.model in known:
            split = getattr(config.params(params.model), "split", result.split)
            lines.append(f"Masks of the images that it learned from, with the help of their tags: {config.command(instance, split)}")
    return lines


def _next_use(workspace: Workspace, result: NodeResult, stage: Stage) -> str:
    """Name the command that segments other photos, where the result can."""
    able = stage.takes_loose_images(workspace.config.params(result.instance))
    named = "" if result.instance == "segment" else f" --with {shlex.quote(result.instance)}"
    return f"; of other photos: labelseg predict FOLDER -o DIR{named}" if able else ""


def _outcome(workspace: Workspace, result: NodeResult, tag: str | None) -> str:
    """Say in a few words what was done."""
    if result.action in ("failed", "waiting"):
        return f"{result.action}: {result.error}"
    if result.action == "skipped":
        return f"skipped: {reasons_text(result.reasons)}"
    if result.action == "reused":
        return "reused an earlier result"
    if result.action == "trained":
        return f"{done_word(result.action, result.instance)} in {seconds_text(result.seconds)}{_metrics(workspace, result, tag)}"
    failed = f", {result.failed:,} failed" if result.failed else ""
    return f"{counted(result.computed or 0, 'image')} in {seconds_text(result.seconds)}{failed}"


def _metrics(workspace: Workspace, result: NodeResult, tag: str | None) -> str:
    """Write the scores of a model that was just trained, or what one is that was taken in."""
    manifest = _manifest(workspace, result, tag)
    if manifest is None:
        return ""
    if is_imported(result.instance) and (model := manifest.meta.get("model")):
        left = ", ".join(f"{part} {count}" for part, count in model.get("left", {}).items())
        return f": {model['imported']} on {model['backbone']}{f'; tensors left out: {left}' if left else ''}"
    scores = [f"{name} {percent(value)}" for name, value in kept_metrics(manifest).items() if name in ("mAP", "mIoU")]
    return f", {', '.join(scores)}" if scores else ""
