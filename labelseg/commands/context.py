"""What every command is given: the folder of the workspace and the stages."""

from __future__ import annotations

import getpass
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.advice import as_typed
from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.files.locks import WAIT_SECONDS
from labelseg.suggestions import unknown_split

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


@dataclass(frozen=True)
class Invocation:
    """Where a command works.

    Attributes:
        root: Folder of the workspace.
        stages: All stages, in order.
        wait: Seconds to wait for another process that works in the workspace.
    """

    root: Path
    stages: tuple[Stage, ...]
    wait: float = WAIT_SECONDS

    def config(self) -> Config:
        """Read the configuration."""
        return Config.load(self.root, self.stages)

    def workspace(self) -> Workspace:
        """Open the workspace."""
        from labelseg.workspace import Workspace

        return Workspace(self.root, stages=self.stages)


pass_invocation = click.make_pass_decorator(Invocation)


def _set_wait(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    """Let the command wait for nobody."""
    if given:
        ctx.obj = replace(ctx.obj, wait=0.0)


no_wait = click.option(
    "--no-wait",
    is_flag=True,
    expose_value=False,
    callback=_set_wait,
    help=f"If another process works in the workspace, end with code 5 at once instead of after {WAIT_SECONDS:.0f} seconds.",
)


def talk(message: str = "") -> None:
    """Tell a person something; it goes to stderr, so that stdout holds nothing but data."""
    click.echo(as_typed(message), err=True)


def tell(text: str) -> None:
    """Write what was asked for to stdout, for a person to read; what programs read is written as it is."""
    click.echo(as_typed(text))


def check_splits(workspace: Workspace, *splits: str | None) -> None:
    """Refuse a split that the data does not have.

    Raises:
        UsageError: there is none of that name.
    """
    known = workspace.dataset.splits()
    for split in splits:
        if split is not None and split not in known:
            raise UsageError(unknown_split(split, known))


def user_name() -> str:
    """Name the user of this process, as far as that is known."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = ""
    return name if 0 < len(name) <= 64 and name.isprintable() else "somebody"
