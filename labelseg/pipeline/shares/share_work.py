"""Computes one share of a map: a job of any scheduler, beside others that compute the rest."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labelseg.errors import DataError, ItemsFailedError, UsageError
from labelseg.pipeline.files.mishaps import MAP_MEMORY, told_in_one_line
from labelseg.pipeline.instances import command_on, stage_of
from labelseg.pipeline.plan.decisions import Entries
from labelseg.pipeline.plan.runlog import RunLog, now
from labelseg.pipeline.run.execution import Execution
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.planning import IDLE, Plan, choose_action, find_goal, make_plan, standings_below
from labelseg.pipeline.run.prospect import MapWork
from labelseg.pipeline.shares.share_records import ShareJob, ShareRecord, share_of
from labelseg.pipeline.shares.shared_folder import share_folder
from labelseg.pipeline.store.soundness import Notes

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike


@dataclass(frozen=True)
class ShareDone:
    """What became of a share.

    Attributes:
        instance, split: Of which map.
        computed: Items computed now.
        total: Items of the share; 0 where the whole is published already.
        seconds: How long it took.
    """

    instance: str
    split: str
    computed: int = 0
    total: int = 0
    seconds: float = 0.0


def work_share(workspace: WorkspaceLike, instance: str, split: str | None, share: int, shares: int, options: RunOptions) -> ShareDone:
    """Compute the items of a share that no part holds yet, and record the share. Takes no lock for it, and moves no ref.

    Behind an object store what is read comes from there, and parts and record go there: no other machine has to see this folder.

    Args:
        workspace: The workspace.
        instance: Map to work on; what it reads is used as it stands.
        split: Its split; None as for a run.
        share, shares: Which of how many shares, from 0.
        options: Device and workers.

    Raises:
        UsageError: the instance is a training, there is no such share, or the others are shares of another number.
        NotFreshError, MissingArtifactError: what is read is not up to date.
        ItemsFailedError: the share is recorded, and some of its items failed.
        UnreachableError: the object store does not answer; what is computed stays here, and the same command sends it.
    """
    started = time.monotonic()
    if not 0 <= share < shares:
        raise UsageError(f"--shard {share}: expected 0 to {shares - 1}, as there are {shares} (--shards).")
    remote = workspace.remote
    if remote is not None:
        remote.fetch(options.wait)
    plan = plan_alone(workspace, instance, split, options)
    decision, prospect = plan.steps[-1].decision, plan.steps[-1].prospect
    node = decision.node
    if choose_action(decision, plan.options) in IDLE or prospect is None or prospect.manifest is not None or prospect.work is None:
        return ShareDone(node.instance, node.split)
    if not prospect.work.entries:
        raise DataError(f"{node.instance}: split '{node.split}' has no images that everything it reads could be computed for.")
    stage, key = node.stage.name, str(decision.key)
    folder = share_folder(workspace, stage, key)
    job = folder.begin(ShareJob(stage=stage, key=key, instance=node.instance, split=node.split, shares=shares, created=now()))
    if job.shares != shares:
        raise UsageError(
            f"{node.id} was begun in {job.shares} shares on {job.created}, and this is one of {shares}. Go on with --shards {job.shares}, "
            f"or begin anew, which computes nothing twice: {command_on('finish', node.instance, node.split, '--forget')}"
        )
    mine = own_work(workspace, prospect.work, share, shares, node.stage.name)
    log = RunLog(workspace.folder)
    device, places, failed = "cpu", {}, []
    if mine.todo:
        asked = {"purpose": plan.options.purpose, "target": node.instance, "split": node.split, "share": share, "shares": shares}
        log.event({"event": "run", **asked})
        try:
            with told_in_one_line(str(node.id), workspace.folder, MAP_MEMORY):
                outcome, device = Execution(workspace, plan.planner, standings_below(plan), log, plan.options).compute(decision, mine)
        finally:
            log.end()
        places = outcome.places
        failed = [{"id": failure.id, "error": failure.error} for failure in outcome.failed]
    seconds = round(time.monotonic() - started, 3)
    there = {entry.id: places.get(entry.id) or mine.places.get((entry.id, mine.keys[entry.id])) for entry in mine.entries}
    items: list[list[str | int]] = [[image_id, mine.keys[image_id], *place] for image_id, place in there.items() if place is not None]
    record = ShareRecord(
        stage=stage, key=key, share=share, shares=shares, items=items, failed=failed, device=device,
        seconds=seconds if mine.todo else 0.0, host=platform.node(), created=now(),
    )  # fmt: skip
    if remote is not None:
        remote.parts.complete(stage, {place.part for place in there.values() if place is not None})
    folder.publish(record)
    if failed:
        raise ItemsFailedError(
            f"{len(failed):,} of {len(mine.entries):,} images of share {share} of {node.id} failed, {failed[0]['id']} the first: "
            f"{failed[0]['error'].rstrip('.')}. Repair or remove them and run the same command again: nothing else is computed again."
        )
    return ShareDone(node.instance, node.split, len(places), len(mine.entries), seconds)


def plan_alone(workspace: WorkspaceLike, instance: str, split: str | None, options: RunOptions) -> Plan:
    """Plan a map by itself, what it reads as it stands; without a lock, since many do so at once.

    Raises:
        UsageError: the instance is a training.
    """
    if workspace.config.stage(instance).kind == "model":
        raise UsageError(
            f"{stage_of(instance)} is a training, which is not cut into shares. As one job, on several devices by --device cuda:0,1 or "
            "started by torchrun: "
            f"{workspace.config.command(instance)}"
        )
    options = replace(options, only=True)
    return make_plan(workspace, find_goal(workspace.config, instance, split, {}, options), options)


def own_work(workspace: WorkspaceLike, work: MapWork, share: int, shares: int, stage: str) -> MapWork:
    """Cut a share out of the work on a map; what lies in parts that were found damaged is to be computed again."""
    damaged = Notes(workspace.folder).all()
    places = {name: place for name, place in work.places.items() if (stage, place.part) not in damaged}
    return MapWork(share_entries(work.entries, share, shares), work.keys, places)


def share_entries(entries: Entries, share: int, shares: int) -> Entries:
    """List the items of a share."""
    return entries.chosen([position for position in range(len(entries)) if share_of(position, len(entries), shares) == share])
