"""What every command is given: the folder of the workspace and the stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.stage import Stage

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


@dataclass(frozen=True)
class Invocation:
    """Where a command works.

    Attributes:
        root: Folder of the workspace.
        stages: All stages, in order.
    """

    root: Path
    stages: tuple[Stage, ...]

    def config(self) -> Config:
        """Read the configuration."""
        return Config.load(self.root, self.stages)

    def workspace(self) -> Workspace:
        """Open the workspace."""
        from labelseg.workspace import Workspace

        return Workspace(self.root, stages=self.stages)


pass_invocation = click.make_pass_decorator(Invocation)


def talk(message: str = "") -> None:
    """Tell a person something; it goes to stderr, so that stdout holds nothing but data."""
    click.echo(message, err=True)
