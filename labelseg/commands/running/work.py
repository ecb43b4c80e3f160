"""``labelseg work`` and ``labelseg finish``: a map in shares, by the jobs of any scheduler."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from labelseg import __version__
from labelseg.commands.carry_out import with_device
from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.errors import UsageError
from labelseg.pipeline.instances import command_on
from labelseg.pipeline.run.options import RunOptions
from labelseg.wording import counted, seconds_text

SHARE_VARIABLES = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")
COUNT_VARIABLES = ("SLURM_ARRAY_TASK_COUNT",)


@click.command()
@click.argument("instance", metavar="STAGE")
@click.option("--split", metavar="SPLIT", show_default="as the stage would take", help="Images to work on.")
@click.option(
    "--shard", type=click.IntRange(min=0), metavar="K", show_default=" or ".join(SHARE_VARIABLES), help="Which share to compute, from 0."
)
@click.option(
    "--shards", type=click.IntRange(1, 1_000_000), metavar="N", show_default=COUNT_VARIABLES[0], help="How many shares there are."
)
@click.option("--print", "scheduler", type=click.Choice(("slurm", "k8s")), help="Compute nothing: write a script for all shares.")
@with_device
@pass_invocation
def work(
    invocation: Invocation,
    instance: str,
    split: str | None,
    shard: int | None,
    shards: int | None,
    scheduler: str | None,
    device: str,
    workers: int | None,
) -> None:
    """Compute one of N shares of a map, beside other jobs that compute the rest; `labelseg finish` makes one artifact of them.

    No lock is taken and nothing is computed twice: a share that was killed goes on when the same command runs again, on any machine that
    sees the folder, or the object store that labelseg.toml names. What the stage reads must be up to date. Trainings are not cut into
    shares.

    Exit codes: 0 the share is done; 3 some images failed (data: a retry helps after they are repaired); 143 terminated, as by
    pre-emption or a time limit, and 130 interrupted: run it again; 2 usage, 4 something it reads is not up to date: a retry does not
    help; 7 the object store does not answer: run it again; 1 anything else.

    Example: labelseg work cam --shard 0 --shards 8
    """
    from labelseg.pipeline.shares.share_work import plan_alone, work_share

    workspace = invocation.workspace()
    options = RunOptions(device=device, workers=workers, purpose=command_on("work", instance))
    shares = shards if shards is not None else _from(os.environ, COUNT_VARIABLES, "--shards")
    if scheduler is not None:
        target = plan_alone(workspace, instance, split, options).goal.target
        workspace.index.save()  # so that not every share digests every file
        store = "" if workspace.remote is None else workspace.remote.url
        tell(_script(invocation, scheduler, target.instance, target.split, shares, store))
        return
    share = shard if shard is not None else _from(os.environ, SHARE_VARIABLES, "--shard")
    done = work_share(workspace, instance, split, share, shares, options)
    instance, split = done.instance, done.split
    if done.total:
        made = f"{counted(done.computed, 'image')} of {done.total:,} computed in {seconds_text(done.seconds)}"
        talk(f"Share {share} of {instance} ({split}) is done: {made}. When all {shares} are: {command_on('finish', instance, split)}")
    else:
        talk(f"Share {share} of {instance} ({split}) has nothing to compute. When all are done: {command_on('finish', instance, split)}")


@click.command()
@click.argument("instance", metavar="STAGE")
@click.option("--split", metavar="SPLIT", show_default="as the stage would take", help="Images that were worked on.")
@click.option("--wait", type=click.FloatRange(min=0.0), default=0.0, metavar="SECONDS", help="Wait so long for shares that are not done.")
@click.option("--forget", is_flag=True, help="Give the shares up; what they computed serves again until `labelseg gc`.")
@no_wait
@pass_invocation
def finish(invocation: Invocation, instance: str, split: str | None, wait: float, forget: bool) -> None:
    """Make one artifact of the shares of a map that `labelseg work` computed: what a run by itself would have made.

    All is read back and compared with its digests first. Where images are missing, nothing is published, and the commands that compute
    them are named.

    Exit codes: 0 published; 3 published, and some images failed; 4 images are missing; 5 another process works in this workspace; 7
    the object store does not answer; 1 anything else.

    Example: labelseg finish cam
    """
    from labelseg.pipeline.shares.share_finish import finish_shares, forget_shares

    workspace = invocation.workspace()
    options = RunOptions(wait=invocation.wait, purpose=command_on("finish", instance))
    if forget:
        target = split or workspace.config.split_of(instance)
        talk(f"{counted(forget_shares(workspace, instance, target), 'job')} of shares of {instance} ({target}) forgotten.")
        return
    result = finish_shares(workspace, instance, split, options, wait=wait)
    talk(f"{result.instance} ({result.split}) is published: {counted(result.total, 'image')}. Next: labelseg run")


def _from(environ: Mapping[str, str], names: tuple[str, ...], option: str) -> int:
    """Read a number that a scheduler set.

    Raises:
        UsageError: none did, or it is none.
    """
    for name in names:
        if name in environ:
            if not environ[name].isdecimal():
                raise UsageError(f"{name}={environ[name]}: expected a whole number from 0. Give {option} instead.")
            return int(environ[name])
    raise UsageError(
        f"{option} is missing, and the environment has no {' or '.join(names)}. Give both: labelseg work STAGE --shard 0 --shards 8"
    )


def _script(invocation: Invocation, scheduler: str, instance: str, split: str, shares: int, store: str) -> str:
    """Write what submits all shares."""
    from labelseg.pipeline.shares.scripts import ScriptJob, kubernetes_manifest, slurm_script

    job = ScriptJob(invocation.root.absolute(), instance, split, shares, __version__, store)
    return (slurm_script(job) if scheduler == "slurm" else kubernetes_manifest(job)).rstrip("\n")
