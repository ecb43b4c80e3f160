"""The command line: puts the commands together and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from labelseg import __version__
from labelseg.commands.advice import TypedFormatter, as_typed, set_place
from labelseg.commands.answering.annotate import annotate
from labelseg.commands.answering.answers import answers
from labelseg.commands.answering.budget import budget
from labelseg.commands.answering.import_masks import import_masks
from labelseg.commands.completion import add_completion
from labelseg.commands.context import Invocation, talk
from labelseg.commands.history.dag import dag
from labelseg.commands.history.diff import diff
from labelseg.commands.history.log import log
from labelseg.commands.history.tag import tag
from labelseg.commands.results.evaluate import evaluate
from labelseg.commands.results.export import export
from labelseg.commands.results.predict import predict
from labelseg.commands.results.quality import quality
from labelseg.commands.results.report import report
from labelseg.commands.results.show import show
from labelseg.commands.results.view import view
from labelseg.commands.running.run import run
from labelseg.commands.running.stage_commands import stage_command
from labelseg.commands.running.status import status
from labelseg.commands.running.sweep import sweep
from labelseg.commands.running.tune import tune
from labelseg.commands.running.upkeep import doctor, gc, verify
from labelseg.commands.running.work import finish, work
from labelseg.commands.setup.config import config
from labelseg.commands.setup.data_sets import data
from labelseg.commands.setup.demo import demo
from labelseg.commands.setup.init import init
from labelseg.commands.setup.split import split
from labelseg.errors import LabelsegError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.engines.interruption import INTERRUPTED, TERMINATED, exit_code, farewell, heard, ignore, interruptible, listen
from labelseg.pipeline.engines.launched import launched
from labelseg.pipeline.files.mishaps import explained, one_line
from labelseg.stages import STAGES
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.training.ranks import Company

COMMANDS = (
    *(init, data, split, run, work, finish, tune, sweep, status, evaluate, show, quality, report, view),
    *(predict, export, import_masks, annotate, answers, budget),
    *(log, diff, dag, tag, config, verify, gc, demo, doctor),
)


class Failure(click.ClickException):
    """An error as the command line shows it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class Program(click.Group):
    """The group of all commands; the one place where errors become messages.

    Attributes:
        stages: Those that have commands, in order.
    """

    stages: tuple[Stage, ...] = ()

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and turn what it raises into one line and an exit code."""
        try:
            with interruptible():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort) as error:
            if isinstance(error, click.ClickException):
                error.message = as_typed(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt as error:
            ctx.exit(_interrupted(heard() or type(error)))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                raise
            _refuse_unwritable_output(error)
            command = f"labelseg {ctx.invoked_subcommand or ''}".rstrip()
            told = explained(error, command, ctx.params["root"])
            if told is None:
                advice = f"This was not foreseen; to see where it comes from: labelseg --debug {ctx.invoked_subcommand}"
                _fail(ctx, f"{one_line(error)}. {advice}", LabelsegError.exit_code)
            _fail(ctx, str(told), told.exit_code)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; name the nearest ones where there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            hint = suggestion(name, self.commands, listed="", count=3) or " See: labelseg --help"
            ctx.fail(f"No such command '{name}'.{hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which they were added, not by name."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of the workspace and the stages apart."""
        stages = {stage.name for stage in self.stages}
        for title, members in (("Commands", self.commands.keys() - stages), ("Stages, in their order", stages)):
            with formatter.section(title):
                rows = [(name, command.get_short_help_str(limit=90)) for name, command in self.commands.items() if name in members]
                formatter.write_dl(rows)


def make_program(stages: Iterable[Stage]) -> Program:
    """Make the program for a sequence of stages: the commands of the workspace, and one for every stage."""
    stages = tuple(stages)

    @click.group(cls=Program, name="labelseg", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
    @click.option(
        "-C", "root", metavar="DIR", default=".", type=click.Path(file_okay=False, path_type=Path), help="Folder of the workspace."
    )
    @click.option("--debug", is_flag=True, help="Show where an error comes from.")
    @click.version_option(__version__, message="%(prog)s %(version)s")
    @click.pass_context
    def program(ctx: click.Context, root: Path, debug: bool) -> None:
        """Pixel masks and a trained segmenter from cheap labels, in offline, restartable stages.

        Begin with `labelseg init`, then `labelseg run`. Exit codes: 0 done, 1 error, 2 usage, 3 some items failed,
        4 not fresh, 5 locked or overtaken, 6 waiting for answers, 7 the object store does not answer, 130 interrupted, 143 terminated.
        """
        warnings = logging.StreamHandler()
        warnings.setFormatter(TypedFormatter("%(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[warnings])
        set_place(root)
        ctx.obj = Invocation(root, stages)

    for command in (*COMMANDS, *map(stage_command, stages)):
        add_completion(command)
        program.add_command(command)
    program.stages = stages  # type: ignore[attr-defined]
    return program  # type: ignore[return-value]


def _fail(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    """End with one line, after the traceback where that was asked for."""
    if ctx.params.get("debug"):
        talk(traceback.format_exc())
    raise Failure(as_typed(" ".join(line.strip() for line in message.splitlines())), exit_code)


def _interrupted(kind: type[KeyboardInterrupt]) -> int:
    """Tell that the work was cut short; the exit code."""
    talk(farewell(kind))
    return exit_code(kind)


def _refuse_unwritable_output(error: Exception) -> None:
    """Say so where it is our own output that finds no room, not a file of the workspace.

    Raises:
        Failure: the output cannot be written; what is left of it is given up.
    """
    if not isinstance(error, OSError) or error.errno is None or not error.__traceback__:
        return
    place = traceback.extract_tb(error.__traceback__)[-1]
    if error.filename is None and place.filename == click.utils.__file__:
        raise _output_failure(error) from error


def _output_failure(error: OSError) -> Failure:
    """Give up what is left of our output, and say why."""
    with contextlib.suppress(OSError, ValueError):  # what is written at the exit of the interpreter must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    reason = (error.strerror or "cannot be written").lower()
    return Failure(f"standard output: {reason}. Send it to a place with room; what was computed stays.", LabelsegError.exit_code)


def _company() -> Company | None:
    """Meet the processes that a launcher such as torchrun started beside this one; None where there are none."""
    try:
        place = launched()
    except LabelsegError as error:
        failure = Failure(str(error), error.exit_code)
        failure.show()
        sys.exit(failure.exit_code)
    if place is None:
        return None
    from labelseg.training.ranks import join

    return join(place)


def _follow(company: Company) -> NoReturn:
    """Help with trainings until the first process ends, and end as it does. That one tells what there is to tell."""
    try:
        with interruptible():
            code = company.follow()
    except KeyboardInterrupt as error:
        code = exit_code(heard() or type(error))
    except LabelsegError as error:
        talk(str(error))
        code = error.exit_code
    ignore()
    sys.exit(code)


program = make_program(STAGES)


def main() -> NoReturn:
    """Run the command line."""
    listen()
    company = _company()
    if company is not None and company.place.rank:
        _follow(company)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files may be anything
    try:
        try:
            program(prog_name="labelseg")
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
    except OSError as error:
        failure = _output_failure(error)
        failure.show()
        code = failure.exit_code
    kind = heard()
    if kind is not None and code not in (INTERRUPTED, TERMINATED):
        code = _interrupted(kind)
    ignore()
    if company is not None:
        company.dismiss(code if isinstance(code, int) else bool(code))
    sys.exit(code)
