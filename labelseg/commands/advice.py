"""Commands that messages name, written so that they run from where the user typed theirs: with the folder of the workspace."""

from __future__ import annotations

import logging
import re
import shlex
from pathlib import Path

import click

from labelseg.pipeline.instances import command_on

_PLACE = "labelseg.place"
# What is named as advice stands behind one of these; a subject ("labelseg run: no space left") and what somebody is doing do not.
_COMMAND = re.compile(
    r"(?P<before>[:,;] |\b(?:or|and|with|then) |`|\()labelseg (?P<rest>(?:--debug )?(?P<name>[a-z][a-z-]*)\b)(?!:|\) since| \()"
)


def set_place(root: Path) -> None:
    """Say which workspace the messages of the command that is running are about."""
    click.get_current_context().meta[_PLACE] = root


def show_command(instance: str, image_id: str, split: str = "", *words: str) -> str:
    """Write the command that shows an image; an id that begins as an option does stands behind ``--``."""
    return command_on("show", instance, split, *words, *(["--"] if image_id.startswith("-") else []), image_id)


def as_typed(text: str) -> str:
    """Put ``-C DIR`` into the commands that a text names, where the workspace is another folder than the current one."""
    context = click.get_current_context(silent=True)
    root = Path(".") if context is None else context.meta.get(_PLACE, Path("."))
    if context is None or root == Path("."):
        return text
    program = context.find_root().command
    known = program.commands if isinstance(program, click.Group) else {}

    def named(found: re.Match[str]) -> str:
        """Write one command."""
        if found["name"] not in known:
            return found[0]
        return f"{found['before']}labelseg -C {shlex.quote(str(root))} {found['rest']}"

    return _COMMAND.sub(named, text)


class TypedFormatter(logging.Formatter):
    """Writes warnings as other messages are written."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a warning."""
        return as_typed(super().format(record))
