"""Writes the pages of this folder that follow from the code: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

import click

from labelseg.cli import program
from labelseg.stages import STAGES

FOLDER = Path(__file__).parent


def cli_reference() -> str:
    """Write the reference of the command line from the declarations of its commands."""
    stages = {stage.name for stage in STAGES}
    lines = [
        "# Command line",
        "",
        "<!-- Written by docs/generate.py from the code; change the code, then run: make docs -->",
        "",
        *_paragraphs(program.help or ""),
        *_options(program),
    ]
    for title, names in (
        ("Commands", [name for name in program.commands if name not in stages]),
        ("Stages", [name for name in program.commands if name in stages]),
    ):
        lines += [f"## {title}", ""]
        for name in names:
            command = program.commands[name]
            lines += [f"### labelseg {name}", "", f"`{_usage(name, command)}`", "", *_paragraphs(command.help or ""), *_options(command)]
            for inner, part in getattr(command, "commands", {}).items():
                whole = f"{name} {inner}"
                lines += [f"#### labelseg {whole}", "", f"`{_usage(whole, part)}`", "", *_paragraphs(part.help or ""), *_options(part)]
    return "\n".join(lines).rstrip() + "\n"


def _usage(name: str, command: click.Command) -> str:
    """Write how a command is called."""
    words = [f"labelseg {name}", "[OPTIONS]"]
    for argument in command.params:
        if isinstance(argument, click.Argument):
            words.append(argument.metavar or _plain_argument(argument))
    return " ".join(words)


def _plain_argument(argument: click.Argument) -> str:
    """Write an argument without a name of its own."""
    name = (argument.name or "").upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _options(command: click.Command) -> list[str]:
    """Write a table of the options of a command."""
    options = [param for param in command.params if isinstance(param, click.Option)]
    if not options:
        return []
    rows = [f"| `{_flags(option)}` | {_escaped(option.help or '')} | {_default(option)} |" for option in options]
    return ["| option | meaning | default |", "|---|---|---|", *rows, ""]


def _flags(option: click.Option) -> str:
    """Write the flags of an option and what it takes."""
    flags = ", ".join(option.opts) + (f" / {', '.join(option.secondary_opts)}" if option.secondary_opts else "")
    if option.is_flag:
        return flags
    if isinstance(option.type, click.Choice):
        return _escaped(f"{flags} {'|'.join(option.type.choices)}")
    named = option.metavar or option.type.name
    return _escaped(f"{flags} {named if option.metavar or '|' in named else named.upper()}")


def _default(option: click.Option) -> str:
    """Write the default of an option where its help shows one."""
    if isinstance(option.show_default, str):
        return option.show_default
    if not option.show_default or option.default in (None, ""):
        return ""
    if option.is_flag:
        return f"`{(option.opts if option.default else option.secondary_opts)[0]}`"
    return f"`{option.default}`"


def _paragraphs(text: str) -> list[str]:
    """Write each paragraph on a line."""
    return [line for paragraph in text.split("\n\n") for line in (" ".join(paragraph.split()), "")]


def _escaped(text: str) -> str:
    """Keep a bar from ending a cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    (FOLDER / "cli.md").write_text(cli_reference(), encoding="utf-8")
