"""Makes one artifact of the shares of a map, as one run would have: the same key, the same items, the same digests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from labelseg.errors import DamageError, ItemsFailedError, MissingArtifactError, NotFreshError
from labelseg.pipeline.engines.interruption import raise_if_heard
from labelseg.pipeline.engines.messages import Failed, MapJob, Message, Task
from labelseg.pipeline.instances import command_on
from labelseg.pipeline.plan.decisions import Decision
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.planning import IDLE, Plan, choose_action, planned, standings_below
from labelseg.pipeline.run.prospect import MapWork, look_up
from labelseg.pipeline.run.report import NodeResult
from labelseg.pipeline.run.runner import execute
from labelseg.pipeline.shares.share_records import ShareFolder, ShareRecord, Unfinished, share_of, unfinished_shares
from labelseg.pipeline.shares.share_work import plan_alone
from labelseg.pipeline.shares.shared_folder import bring_shares, share_folder
from labelseg.pipeline.store.manifests import LOST, Location, ManifestItem

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike

POLL_SECONDS = 1.0
STORE_POLL_SECONDS = 10.0  # each look is a request
MOST_NAMED = 8


@dataclass(frozen=True)
class Gathered:
    """Stands in for an engine: it computes nothing, and tells what the shares recorded as failed.

    Attributes:
        failed: Id -> error.
        device, seconds: On what the shares were computed, and how long all of them took together.
    """

    failed: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    seconds: float = 0.0

    def messages(self, job: MapJob, tasks: Sequence[Task], workers: int) -> Generator[Message]:
        """Tell of each item that it failed."""
        for task in tasks:
            if task.entry.id in self.failed:
                yield Failed(task.entry.id, self.failed[task.entry.id], "")

    def account(self, device: str, seconds: float) -> tuple[str, float]:
        """Tell on what the whole was computed, and how long that took."""
        return self.device, self.seconds


def finish_shares(workspace: WorkspaceLike, instance: str, split: str | None, options: RunOptions, *, wait: float = 0.0) -> NodeResult:
    """Check what the shares of a map computed, and publish the whole.

    Args:
        workspace: The workspace.
        instance, split: As for ``work_share``.
        options: How long to wait for the lock.
        wait: Seconds to wait until each share has a record.

    Returns:
        What was published.

    Raises:
        MissingArtifactError: no share of this map was begun; those of another key are named.
        NotFreshError: items are neither computed nor failed; the message names the commands that compute them.
        ItemsFailedError: all is published, and some items failed.
        UnreachableError: the object store does not answer; records of shares stay where they are.
    """
    plan = plan_alone(workspace, instance, split, options)
    folder = _folder(workspace, plan)
    if wait and not _is_idle(plan):
        _await_shares(workspace, folder, time.monotonic() + wait)
    name = plan.goal.target
    with planned(
        workspace, name.instance, name.split, options=replace(options, only=True, purpose=command_on("finish", name.instance))
    ) as held:
        decision = held.steps[-1].decision
        folder = _folder(workspace, held)
        folder.bring()
        if _is_idle(held):
            folder.remove()
            return execute(held).results[-1]
        work = _sound_work(workspace, held)
        engine = Gathered()
        if work is not None:
            engine = _gather(workspace, held, decision, folder, work)
            held.steps[-1] = replace(held.steps[-1], prospect=replace(held.steps[-1].prospect, work=work))  # type: ignore[type-var]
        try:
            result = execute(held, engine=engine).results[-1]
        except ItemsFailedError:
            if workspace.remote is not None:
                workspace.remote.settle()
            folder.remove()
            raise
        folder.remove()
        return result


def forget_shares(workspace: WorkspaceLike, instance: str, split: str) -> int:
    """Remove the records of all shares of an instance in a split, under whatever key; return of how many maps. Parts stay until ``gc``."""
    found = of_node(workspace, instance, split)
    for unfinished in found:
        share_folder(workspace, unfinished.folder.stage, unfinished.folder.key).remove()
    return len(found)


def of_node(workspace: WorkspaceLike, instance: str, split: str) -> list[Unfinished]:
    """List the shares that were begun for an instance in a split; such as cannot be read count, if they are of its stage."""
    stage = workspace.config.stage(instance).name
    bring_shares(workspace, stage)
    found = unfinished_shares(workspace.folder, stage)
    return [u for u in found if u.job is None or (u.job.instance, u.job.split) == (instance, split)]


def _is_idle(plan: Plan) -> bool:
    """Whether nothing is to be published."""
    return choose_action(plan.steps[-1].decision, plan.options) in IDLE


def _folder(workspace: WorkspaceLike, plan: Plan) -> ShareFolder:
    """Find the records of the map that a plan ends with."""
    decision = plan.steps[-1].decision
    return share_folder(workspace, decision.node.stage.name, str(decision.key))


def _await_shares(workspace: WorkspaceLike, folder: ShareFolder, until: float) -> None:
    """Wait until each share has a record, or time is over; an object store that falls silent meanwhile may answer again."""
    remote, pause = workspace.remote, POLL_SECONDS if workspace.remote is None else STORE_POLL_SECONDS
    while True:
        with nullcontext(True) if remote is None else remote.if_it_answers() as answers:
            if answers:
                folder.bring()
        if (job := folder.job()) is not None and len(folder.done(job.shares)) >= job.shares:
            return
        raise_if_heard()
        if time.monotonic() >= until:
            return
        time.sleep(min(pause, max(0.0, until - time.monotonic())))


def _sound_work(workspace: WorkspaceLike, plan: Plan) -> MapWork | None:
    """Read back what no published artifact names yet, so that only what was written is published; None where the whole is there.

    What is damaged is taken out, and counts as not computed.
    """
    from labelseg.pipeline.store.mending import mend_noted

    step = plan.steps[-1]
    decision, prospect = step.decision, step.prospect
    if prospect is None or prospect.work is None:
        return None
    stage = decision.node.stage.name
    work: MapWork | None = prospect.work
    standing = None if decision.ref is None else workspace.catalog.sound(stage, decision.ref.key)
    sound = {(item.id, item.key) for item in standing.items} if standing is not None else set()
    read: set[tuple[str, Location]] = set()
    while work is not None:
        damaged = set()
        for entry in work.entries:
            name = (entry.id, work.keys[entry.id])
            if name not in work.places or name in sound or (entry.id, work.places[name]) in read:
                continue
            try:
                workspace.store.read_item(stage, ManifestItem(entry.id, name[1], *work.places[name]))
                read.add((entry.id, work.places[name]))
            except DamageError:
                damaged.add(work.places[name].part)
            raise_if_heard()
        if not damaged:
            return work
        mend_noted(workspace.store)
        if workspace.remote is not None:
            workspace.remote.parts.take_out(stage, damaged)
        work = look_up(plan.planner, decision, standings_below(plan), forced=False, remote=workspace.remote).work
    return None


def _gather(workspace: WorkspaceLike, plan: Plan, decision: Decision, folder: ShareFolder, work: MapWork) -> Gathered:
    """Collect what the shares recorded.

    Raises:
        MissingArtifactError: there are no shares of this key.
        NotFreshError: items are neither computed nor failed.
    """
    node = decision.node
    job = folder.job()
    if job is None:
        others = [u for u in of_node(workspace, node.instance, node.split) if u.folder.path != folder.path]
        why = (
            f": shares of {len(others)} other keys lie there, begun before something changed. "
            f"They are not used; to remove them: {command_on('finish', node.instance, node.split, '--forget')}."
            if others
            else "."
        )
        raise MissingArtifactError(
            f"no share of {node.id} is begun as it is asked for now{why} Begin: {share_command(node.instance, node.split, 0, 8)}"
        )
    records = [record for share in folder.done(job.shares) if (record := _readable(folder, share)) is not None]
    is_same = decision.ref is not None and decision.ref.key == decision.key
    standing = workspace.catalog.sound(node.stage.name, str(decision.key)) if is_same else None
    # What a run of this very key told as failed is known as well; what a repair took out is not.
    failed = {f["id"]: f["error"] for f in (standing.failed if standing is not None else ()) if f["error"] != LOST}
    failed |= {failure["id"]: failure["error"] for record in records for failure in record.failed}
    holes = Counter(
        share_of(position, len(work.entries), job.shares)
        for position, entry in enumerate(work.entries)
        if (entry.id, work.keys[entry.id]) not in work.places and entry.id not in failed
    )
    if holes:
        commands = [share_command(node.instance, node.split, share, job.shares) for share in sorted(holes)[:MOST_NAMED]]
        more = f"; and {len(holes) - MOST_NAMED} shares more" if len(holes) > MOST_NAMED else ""
        raise NotFreshError(
            f"{node.id}: {sum(holes.values()):,} of {len(work.entries):,} images are neither computed nor failed, in "
            f"{len(holes)} of {job.shares} shares. Nothing is published. Run: {'; '.join(commands)}{more}. "
            f"Then: {command_on('finish', node.instance, node.split)}"
        )
    devices = [record.device for record in records if record.items]
    return Gathered(failed, devices[0] if devices else "cpu", sum(record.seconds for record in records))


def share_command(instance: str, split: str, share: int, shares: int) -> str:
    """Write the command that computes a share."""
    return command_on("work", instance, split, "--shard", str(share), "--shards", str(shares))


def _readable(folder: ShareFolder, share: int) -> ShareRecord | None:
    """Read a record; one that is damaged counts as none: its items are found by their keys, and what had failed is a hole again."""
    try:
        return folder.record(share)
    except DamageError:
        return None
