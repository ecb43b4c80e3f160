"""What commands say of maps that are computed in shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.commands.context import talk
from labelseg.pipeline.files.atomic import may_only_read
from labelseg.pipeline.files.share_folders import begun_shares, hidden_shares
from labelseg.pipeline.instances import command_on
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


def tell_shares(workspace: Workspace, stage: str | None = None) -> None:
    """Say of which maps, of a stage or of all, shares are begun and not published, and what to do; nothing where there are none.

    Args:
        workspace: The workspace; of an object store what is known here, where it does not answer.
        stage: Name of the stage; None tells of all.
    """
    root = workspace.folder
    for error in hidden_shares(root):
        talk(str(error))
    if workspace.remote is not None:
        from labelseg.pipeline.shares.shared_folder import bring_shares

        with workspace.remote.if_it_answers() as answers, may_only_read():
            if answers:
                bring_shares(workspace, stage)
    if not begun_shares(root):
        return
    from labelseg.pipeline.shares.share_records import unfinished_shares

    for unfinished in unfinished_shares(root, stage):
        job = unfinished.job
        if job is None:
            path = unfinished.folder.path
            talk(unfinished.problem or f"{path} does not say whose shares these are. To remove all such: labelseg gc --shares")
        else:
            instance, split = job.instance, job.split
            talk(
                f"{instance} ({split}): {len(unfinished.done)} of {counted(job.shares, 'share')} are done, begun {job.created}. When all "
                f"are: {command_on('finish', instance, split)}; to give them up: {command_on('finish', instance, split, '--forget')}"
            )


def share_damages(root: Path, stage: str | None = None) -> list[tuple[Path, str]]:
    """List the records of shares that are not what was written, each with what is wrong."""
    if not begun_shares(root):
        return []
    from labelseg.pipeline.shares.share_records import unfinished_shares

    return [damage for unfinished in unfinished_shares(root, stage) for damage in unfinished.folder.damages()]
