"""``labelseg status``."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.advice import as_typed
from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.share_notes import tell_shares
from labelseg.commands.tables import format_table, one_line, percent
from labelseg.errors import ArtifactError, NotFreshError
from labelseg.pipeline.instances import command_on
from labelseg.pipeline.plan.reasons import causes
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.pipeline.run.status import StatusRow
    from labelseg.workspace import Workspace


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option("--exit-code", is_flag=True, help="End with code 4 unless everything is fresh.")
@pass_invocation
def status(invocation: Invocation, as_json: bool, exit_code: bool) -> None:
    """Tell the state of every stage, and why it is not fresh.

    fresh: up to date. outdated: a model whose images changed since; it is used until `--retrain`. stale: made in another
    way than now asked for. missing: never made. damaged: its record cannot be read; WHY tells what mends it, and the command
    ends with code 1. running, failed, waiting: the state of the last run.
    """
    workspace = invocation.workspace()
    rows = workspace.status()
    if as_json:
        click.echo(json.dumps([_record(row) for row in rows], indent=2))
    else:
        tell(_table(rows))
        _tell_worst(workspace)
        tell_shares(workspace)
    with suppress(OSError):  # digests that cannot be kept are computed again
        workspace.index.save()
    _refuse_unreadable(workspace, rows)
    behind = [row for row in rows if not row.fresh]
    if exit_code and behind:
        raise NotFreshError(
            f"{len(behind)} of {len(rows)} are not fresh, {behind[0].instance} the first. Run: {_remedy(workspace, behind)}"
        )


def _refuse_unreadable(workspace: Workspace, rows: list[StatusRow]) -> None:
    """End with an error where records cannot be read: what stands is not known then.

    Raises:
        ArtifactError: there are such records, or folders of them.
    """
    damaged = [str(row.reasons[-1].after) for row in rows if row.state == "damaged"]
    told = list(dict.fromkeys([*damaged, *map(str, workspace.catalog.damaged_refs())]))
    if told:
        raise ArtifactError(f"{counted(len(told), 'record')} cannot be read, the first: {told[0]}")


def _tell_worst(workspace: Workspace) -> None:
    """Name the images whose masks are trusted least, where that is known of what stands now."""
    from labelseg.quality.chain import chain_refs, least_trusted
    from labelseg.quality.kept import FOLDER
    from labelseg.results.standing import ref_name

    if not (workspace.folder / FOLDER).is_dir():
        return
    for split in dict.fromkeys(ref.split for ref in workspace.catalog.refs() if ref.split):
        for ref in chain_refs(workspace, split):
            if worst := least_trusted(workspace, ref, 3):
                named = ", ".join(f"{one_line(image.id)} ({percent(image.quality)})" for image in worst)
                talk(f"Least quality of {ref_name(ref)}: {named}. Look at them: {command_on('view', ref.instance, ref.split)}")


def _record(row: StatusRow) -> dict[str, Any]:
    """Write a row as JSON values: reasons as text, and under ``why`` as data."""
    return {**vars(row), "reasons": [as_typed(str(reason)) for reason in row.reasons], "why": [reason.to_json() for reason in row.reasons]}


def _remedy(workspace: Workspace, behind: list[StatusRow]) -> str:
    """Write the command that brings up to date what is not: all that the target reads, or what stands first beside it."""
    from labelseg.pipeline.plan.graph import resolve

    config = workspace.config
    target = config.run.get("target")
    read = {node.id for node in resolve(config, target, config.split_of(target))} if target else set()
    inside = [row for row in behind if (row.instance, row.split) in read]
    if behind[0] in inside:
        return "labelseg run --retrain" if any(row.state == "outdated" for row in inside) else "labelseg run"
    return config.command(behind[0].instance, behind[0].split, retrain=behind[0].state == "outdated")


def _table(rows: list[StatusRow]) -> str:
    """Write a row for every instance in every split."""
    header = ("STAGE", "SPLIT", "STATE", "ITEMS", "FAILED", "SECONDS", "WHY")
    cells = [
        (
            row.instance,
            row.split,
            row.state,
            f"{row.items:,}" if row.created else "",
            f"{row.failed:,}" if row.failed else "",
            f"{row.seconds:,.1f}" if row.created else "",
            why,
        )
        for row, why in zip(rows, causes((row.instance, row.reasons) for row in rows), strict=True)
    ]
    return format_table(header, cells, right=("ITEMS", "FAILED", "SECONDS"))
