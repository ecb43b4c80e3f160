"""Completion in a shell: names of stages, splits, tags and keys, as the workspace has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from labelseg.commands.context import Invocation
from labelseg.pipeline.declare.config import PLAIN_TABLES
from labelseg.pipeline.declare.values import declared_fields
from labelseg.pipeline.instances import table_of


def _instances(invocation: Invocation) -> Iterable[str]:
    try:
        return invocation.config().instances()
    except Exception:  # no workspace here, or one with errors: no reason to break a command line in the making
        return [stage.name for stage in invocation.stages]


def _splits(invocation: Invocation) -> Iterable[str]:
    return invocation.workspace().dataset.splits()


def _tags(invocation: Invocation) -> Iterable[str]:
    return dict.fromkeys(ref.tag for ref in invocation.workspace().catalog.refs(tagged=True) if ref.tag)


def _keys(invocation: Invocation) -> Iterable[str]:
    config = invocation.config()
    plain = [f"{table}.{key}" for table in PLAIN_TABLES for key in config.tables.get(table, {})]
    return [*plain, *(f"{table_of(name)}.{key}" for name in config.instances() for key in declared_fields(config.stage(name)))]


KNOWN: dict[str, Callable[[Invocation], Iterable[str]]] = {"STAGE": _instances, "SPLIT": _splits, "TAG": _tags, "KEY": _keys}


def completed(ctx: click.Context, kind: str, incomplete: str) -> list[CompletionItem]:
    """List the names of a kind that begin as typed; none where the workspace cannot tell.

    Args:
        ctx: Of the command being typed; it knows the folder.
        kind: One of ``KNOWN``.
        incomplete: What was typed of the word.
    """
    program = ctx.find_root()
    try:
        names = list(KNOWN[kind](Invocation(Path(program.params.get("root") or "."), program.command.stages)))  # type: ignore[attr-defined]
    except Exception:  # as above
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Known(click.ParamType):
    """A text of which the workspace knows what it may be; it is taken as it is.

    Args:
        kind: One of ``KNOWN``.
    """

    name = "text"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take a value as it is."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """List what the workspace knows."""
        return completed(ctx, self._kind, incomplete)


def add_completion(command: click.Command) -> None:
    """Let the texts of a command be completed: what they are is told by how they are called in its help."""
    for param in command.params:
        kind = _kind(param)
        if kind and param.type is click.STRING:
            param.type = Known(kind)


def _kind(param: click.Parameter) -> str:
    """Tell what a parameter names; empty where that is nothing known."""
    word = (param.metavar or (param.name or "").upper()).strip("[].")
    if "--tag" in param.opts:
        return "TAG"
    return word if word in KNOWN else ""
