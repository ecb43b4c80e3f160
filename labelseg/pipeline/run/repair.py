"""Repairs what was found damaged: takes it out, and makes what is missing anew wherever it stands in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from labelseg.errors import ItemsFailedError, LabelsegError, MissingArtifactError, NotFreshError
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.reasons import State
from labelseg.pipeline.plan.workspace_like import WorkspaceLike
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.report import Report
from labelseg.pipeline.run.runner import run
from labelseg.pipeline.run.status import status
from labelseg.pipeline.store.checking import Problem
from labelseg.pipeline.store.manifests import lost_items, ref_names
from labelseg.pipeline.store.mending import mend

PURPOSE = "labelseg verify --repair"


def unrepaired(workspace: WorkspaceLike, stage: str | None = None) -> list[Path]:
    """List the main refs, of a stage or of all, that lack items which a repair took out; it may have been killed before it made them."""
    catalog = workspace.catalog
    refs = [ref for ref in catalog.refs() if ref.failed and stage in (None, ref.stage)]
    return [catalog.ref_path(ref.instance, ref.split) for ref in refs if lost_items(catalog.sound(ref.stage, ref.key))]


def repair(workspace: WorkspaceLike, problems: Sequence[Problem], options: RunOptions, stage: str | None = None) -> Iterator[str]:
    """Take out what is damaged and compute what that leaves missing: items of maps one by one, models as a whole.

    What the configuration asks for in another way now is not made anew here: the next run does that.

    Args:
        workspace: The workspace.
        problems: What ``Store.problems`` found.
        options: Device and workers.
        stage: Whose items to make that an earlier repair took out; None makes those of all.

    Returns:
        A line for everything that was done, as it is done.

    Raises:
        LockedError: another process works on the workspace.
    """
    with workspace_lock(workspace.folder, PURPOSE, options.wait):
        changed = {*mend(workspace.store, problems), *unrepaired(workspace, stage)}
    order = list(workspace.config.stages)
    rows = {(row.instance, row.split): row for row in status(workspace)}
    places = {place for place in map(ref_names, changed) if stage_of(place[0]) in order}
    for instance, split in sorted(places, key=lambda place: (order.index(stage_of(place[0])), place)):
        row = rows.get((instance, split))
        if row is None or not row.fresh:
            yield _remake(workspace, instance, split, row.state if row else "missing", options)


def _remake(workspace: WorkspaceLike, instance: str, split: str, state: State, options: RunOptions) -> str:
    """Make what is missing of an instance in a split; say what came of it."""
    name = f"{instance} ({split})" if split else instance
    command = workspace.config.command(instance, split)
    if state not in ("missing", "damaged", "failed"):
        return f"{name} is {state}: what was damaged is taken out. Run: {command}"
    options = replace(options, purpose=PURPOSE)
    try:
        report = _run_alone(workspace, instance, split, options)
    except ItemsFailedError as error:
        return f"{name}: {error}"
    except LabelsegError as error:
        _drop(workspace, instance, split, options)
        return f"{name}: what was damaged is taken out, and not made anew: {error}"
    if report is None:
        _drop(workspace, instance, split, options)
        return f"{name}: what was damaged is taken out. To make it anew, which trains models: {command}"
    done = report.results[-1]
    return f"{name}: {done.action}{f', {done.computed:,} of {done.total:,} items' if done.computed else ''}"


def _run_alone(workspace: WorkspaceLike, instance: str, split: str, options: RunOptions) -> Report | None:
    """Run an instance by itself, or with what it reads where that is not fresh; None where that would train a model."""
    try:
        return run(workspace, instance, split or None, options=replace(options, only=True))
    except (NotFreshError, MissingArtifactError):
        plan = run(workspace, instance, split or None, options=replace(options, dry_run=True))
        if any(result.action == "trained" and result.instance != instance for result in plan.results):
            return None
        return run(workspace, instance, split or None, options=options)


def _drop(workspace: WorkspaceLike, instance: str, split: str, options: RunOptions) -> None:
    """Remove a ref that names nothing any more."""
    catalog = workspace.store.catalog
    with workspace_lock(workspace.folder, PURPOSE, options.wait):
        ref = catalog.ref(instance, split)
        if ref is not None and catalog.load(ref.stage, ref.key) is None:
            catalog.ref_path(instance, split).unlink()
