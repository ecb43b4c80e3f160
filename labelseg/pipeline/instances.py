"""What an instance is called, ``stage`` or ``stage@name``, and the commands that make it. Nothing else takes such names apart.

Also what a tag may be called, under which results stand beside the main ones.
"""

from __future__ import annotations

import re
import shlex

from labelseg.errors import UsageError

MARK = "@"
UNSAVED = "unsaved"  # the tag of what --no-save has tried
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_tag(tag: str) -> None:
    """Refuse a tag that would not go into a file name, or into INSTANCE:TAG, as it is.

    Raises:
        UsageError: it has another form.
    """
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        raise UsageError(f"tag {tag!r}: expected a name of 64 letters, digits, '.', '_' and '-' at most, with a letter or a digit first.")


def instance_parts(instance: str) -> tuple[str, str]:
    """Split ``stage@name`` into stage and name; the name of a plain stage is empty."""
    stage, _, name = instance.partition(MARK)
    return stage, name


def stage_of(instance: str) -> str:
    """Name the stage that an instance is one of."""
    return instance_parts(instance)[0]


def is_named(instance: str) -> bool:
    """Whether an instance is another one than the plain stage."""
    return MARK in instance


def join_instance(stage: str, name: str) -> str:
    """Put stage and name together; the plain stage where the name is empty."""
    return f"{stage}{MARK}{name}" if name else stage


def table_of(instance: str) -> str:
    """Name the table of an instance in ``labelseg.toml``: ``stage.name``."""
    return instance.replace(MARK, ".")


def split_words(split: str) -> list[str]:
    """List the words of a command line that name a split; none where it is empty."""
    return ["--split", split] if split else []


def command_on(verb: str, instance: str, split: str = "", *words: str) -> str:
    """Write a command on an instance, as a person would type it: names that a shell would take apart are quoted.

    Args:
        verb: What to do, such as ``export``.
        instance: With what.
        split: On which split; empty where the command takes none, or its default is meant.
        words: What stands behind them.

    Returns:
        ``labelseg export propagate@b16 --split 'my photos' -o DIR``.
    """
    return shlex.join(["labelseg", verb, instance, *split_words(split), *words])


def run_command(
    instance: str, split: str = "", *, numbered: str = "", force: bool = False, retrain: bool = False, unsaved: bool = False
) -> str:
    """Write the command that brings an instance up to date, as a person would type it.

    Args:
        instance: What to run.
        split: Split to run it on; empty for a model, and for a map where its default is meant.
        numbered: Parameter that counts the links of the stage's chain, if it has one and that is known; ``--as 2`` does the same.
        force: Compute it again even if it is fresh: the command that rebuilds what is damaged.
        retrain: Train models again whose images changed.
        unsaved: Leave the configuration file and the main result as they are.

    Returns:
        ``labelseg propagate --as b16 --split val --force``; of a chain ``labelseg wilson --step 2``.
    """
    stage, name = instance_parts(instance)
    if numbered and not name:
        # The command of such a stage asks for a number: only a run that reads it reaches the plain one.
        words = ["labelseg", "run", "--until", stage, *(["--force", stage] if force else [])]
        return shlex.join([*words, *(["--retrain"] if retrain else [])])
    words = ["labelseg", stage]
    if name:
        words += [f"--{numbered.replace('_', '-')}" if numbered and name.isdecimal() else "--as", name]
    words += split_words(split)
    return shlex.join([*words, *(flag for flag, on in (("--force", force), ("--retrain", retrain), ("--no-save", unsaved)) if on)])
