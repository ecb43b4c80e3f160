"""``labelseg verify``, ``gc`` and ``doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.carry_out import with_device
from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.commands.share_notes import share_damages, tell_shares
from labelseg.commands.tables import bytes_text
from labelseg.errors import ArtifactError, LabelsegError, UsageError
from labelseg.pipeline.declare.config import FILE_NAME
from labelseg.pipeline.instances import UNSAVED
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.store.away.marks import away_parts
from labelseg.results.outlook.findings import workspace_findings
from labelseg.results.standing import missing_items, ref_name
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


@click.command()
@click.argument("stage", required=False)
@click.option("--repair", is_flag=True, help="Take out what is damaged, and compute just that anew.")
@with_device
@no_wait
@pass_invocation
def verify(invocation: Invocation, stage: str | None, repair: bool, device: str, workers: int | None) -> None:
    """Read everything back and compare it with its digests: refs, manifests, parts, checkpoints, and what people said and corrected.

    With --repair, sound items stay, damaged ones are computed again, and a model that lost a tensor is trained again. Damaged lines of
    answers, marks and corrections move to a file beside their own.
    """
    from labelseg.results.exchange.human_work import mend, troubles

    workspace = invocation.workspace()
    if stage is not None and not any((workspace.folder / kind / stage).is_dir() for kind in ("objects", "manifests", "checkpoints")):
        stage = workspace.config.stage(stage).name
    problems = workspace.store.problems(stage)
    said = list(troubles(workspace, stage))
    for text in [problem.text for problem in problems] + [trouble.text for trouble in said]:
        tell(text)
    odd = share_damages(workspace.folder, stage)
    for path, text in odd:
        tell(text)
        if repair:
            path.unlink(missing_ok=True)
            talk(f"{path} is removed; what the share computed is found again.")
    tell_shares(workspace, stage)
    if repair and said:
        for line in mend(said):
            talk(line)
        said = list(troubles(workspace, stage))
    from labelseg.pipeline.run.repair import repair as repair_damage
    from labelseg.pipeline.run.repair import unrepaired

    if repair and (problems or unrepaired(workspace, stage)):
        kept = {ref_name(ref) for ref in workspace.catalog.refs(tagged=True) if ref.tag}
        for line in repair_damage(workspace, problems, RunOptions(device=device, workers=workers, wait=invocation.wait), stage):
            talk(line)
        found, problems = len(problems), workspace.store.problems(stage)
        if found:
            talk(f"Repaired: {found - len(problems):,} of {found:,} problems.")
        lacking = _lost(workspace, kept)
        for line in lacking:
            talk(line)
        if lacking and not problems and not said:
            count = counted(len(lacking), "tagged artifact lacks", "tagged artifacts lack")
            raise ArtifactError(f"what is left is sound, but {count} what was damaged.")
    left = [*problems, *said, *([] if repair else odd)]
    if left:
        raise ArtifactError(f"{counted(len(left), 'problem')} found.")
    away = away_parts(workspace.folder, stage or "*")
    if away:
        talk(f"{counted(len(away), 'part lies', 'parts lie')} in the object store and not here; each is read back when it comes.")
    talk("All artifacts are what was written.")


def _lost(workspace: Workspace, kept: set[str]) -> list[str]:
    """Say what a repair took from what tags keep: images, or all of it. What stands for an instance itself is made again by a run."""
    from labelseg.pipeline.store.manifests import lost_items

    refs = [ref for ref in workspace.catalog.refs(tagged=True) if ref.tag]
    lines = [missing_items(ref) for ref in refs if ref.failed and lost_items(workspace.catalog.sound(ref.stage, ref.key))]
    gone = sorted(kept - {ref_name(ref) for ref in refs})
    return [
        *lines,
        *(f"{name} is gone: its record or all it held was damaged. Run it with its parameters, then: labelseg tag NAME" for name in gone),
    ]


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--unsaved", is_flag=True, help="Remove what --no-save has made as well.")
@click.option("--shares", is_flag=True, help="Remove shares that are begun and not finished as well, with what they computed.")
@click.option(
    "--keep-logs",
    type=click.IntRange(min=0),
    default=90,
    show_default=True,
    metavar="DAYS",
    help="Remove logs of older runs, unless something that stands was made by the run or is left undone by it.",
)
@click.option("--evict", is_flag=True, help="Remove parts here that the object store holds as well; they are fetched when they are read.")
@click.option("--remote", is_flag=True, help="Remove from the object store what no machine's artifacts name any more as well.")
@click.option(
    "--keep-hours",
    type=click.FloatRange(min=0),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="With --remote: leave what is younger, which a run of another machine may be about to name.",
)
@no_wait
@pass_invocation
def gc(
    invocation: Invocation, dry_run: bool, unsaved: bool, shares: bool, keep_logs: int, evict: bool, remote: bool, keep_hours: float
) -> None:
    """Remove artifacts that no stage or instance in labelseg.toml and no tag needs any more, and leftovers of interrupted work.

    Going back to parameters used before then computes again. Checkpoints of a training that would go on from them stay. What a record
    might name that cannot be read stays, and no link is followed. Of a stage of which shares are not finished (`labelseg work`) all stays.
    An object store ([store] url) is left as it is without --remote.
    """
    from labelseg.pipeline.files.locks import workspace_lock
    from labelseg.pipeline.plan.runlog import Markers, old_logs
    from labelseg.pipeline.run.status import wanted_keys

    workspace = invocation.workspace()
    store = workspace.remote
    if store is None and (evict or remote):
        raise UsageError(
            f"gc --{'evict' if evict else 'remote'}: labelseg.toml names no object store. Name one: labelseg config store.url s3://BUCKET/PREFIX"
        )
    known = workspace.config.instances()
    with nullcontext() if dry_run else workspace_lock(workspace.folder, "labelseg gc", invocation.wait):
        refs = workspace.catalog.refs(tagged=True)
        # What a tag keeps stays, also of instances that left the file.
        gone = [ref for ref in refs if (unsaved if ref.tag == UNSAVED else not ref.tag and ref.instance not in known)]
        runs = {ref.run for ref in refs} | {marker.run for marker in Markers(workspace.folder).all()}
        paths = [workspace.catalog.ref_path(ref.instance, ref.split, ref.tag) for ref in gone]
        swept = workspace.store.sweep(
            keep_checkpoints=wanted_keys(workspace),
            gone=paths,
            logs=old_logs(workspace.folder, keep_logs, runs),
            shares=shares,
            dry_run=dry_run,
        )
        forgotten = workspace.index.forget_missing()
        if not dry_run:
            workspace.index.save()
            if store is not None:
                store.drop(paths)
        evicted = store.evict(dry_run=dry_run) if store is not None and evict else None
        cleared = store.clear(paths, hours=keep_hours, shares=shares, dry_run=dry_run) if store is not None and remote else None
    for line in swept.kept:
        talk(line)
    counts = [(swept.manifests, "artifact"), (swept.parts, "part"), (swept.checkpoints, "checkpoint")]
    counts += [
        (count, name) for count, name in ((swept.logs, "log"), (forgotten, "remembered digest"), (swept.tags, "unfinished tag")) if count
    ]
    told = ", ".join(counted(count, name) for count, name in counts)
    verb = "Would remove" if dry_run else "Removed"
    talk(f"{verb}: {told}, {bytes_text(swept.bytes)}.")
    if evicted is not None:
        talk(f"{verb} here, for the object store holds them: {counted(evicted.parts, 'part')}, {bytes_text(evicted.bytes)}.")
    if cleared is not None:
        for line in cleared.kept:
            talk(line)
        what = f"{counted(cleared.manifests, 'artifact')}, {counted(cleared.parts, 'part')}, {bytes_text(cleared.bytes)}"
        talk(f"{verb} from {store.url if store is not None else ''}: {what}.")


@click.command()
@pass_invocation
def doctor(invocation: Invocation) -> None:
    """Tell versions, devices, threads and free disk: what a report of a fault should hold; and what is found in the data."""
    from labelseg.libraries import LIBRARIES, library_versions

    rows = [
        ("python", f"{platform.python_version()}, {sys.executable}"),
        ("system", platform.platform()),
        *((name, library_versions().get(name, "not installed")) for name in LIBRARIES),
        ("cores", _cores()),
        *_torch_rows(),
        ("free disk", f"{bytes_text(shutil.disk_usage(invocation.root).free)} at {invocation.root.resolve()}"),
        ("writable", "yes" if os.access(invocation.root, os.W_OK) else "no"),
        ("workspace", _workspace(invocation)),
    ]
    if (invocation.root / FILE_NAME).exists():
        rows += [("data", str(finding)) for finding in workspace_findings(invocation.workspace())] or [("data", "nothing to tell")]
    for name, value in rows:
        tell(f"{name:<17} {value}")


def _cores() -> str:
    """Count the cores of the machine and those this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{os.cpu_count()}, {usable} of them usable"


def _torch_rows() -> list[tuple[str, str]]:
    """Tell what torch computes on."""
    import torch

    devices = [f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(torch.cuda.device_count())]
    float32, bfloat16 = (_convolution_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    ratio = float32 / bfloat16
    advice = "--precision bf16-mixed pays on this processor" if ratio > 1.2 else "--precision 32-true is the faster one on this processor"
    return [
        ("threads", str(torch.get_num_threads())),
        ("devices", ", ".join(["cpu", *devices])),
        ("bfloat16", f"a convolution takes {1 / ratio:.2f} of its float32 time: {advice}"),
    ]


def _convolution_seconds(dtype: Any) -> float:
    """Time a convolution of middling size on the processor."""
    import torch

    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.zeros(1, 64, 80, 80, dtype=dtype).to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(5):
            started = time.perf_counter()
            layer(image)
            times.append(time.perf_counter() - started)
    return min(times)


def _workspace(invocation: Invocation) -> str:
    """Tell whether the folder is a workspace."""
    try:
        config = invocation.config()
    except LabelsegError as error:
        return str(error)
    from labelseg.pipeline.files.paths import size_of

    return f"{config.path.resolve()}, {bytes_text(size_of(Path(invocation.root) / '.labelseg'))} of artifacts"
