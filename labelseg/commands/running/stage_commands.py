"""One command for every stage, derived from its declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field
from typing import Any, get_args, get_origin

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from labelseg.commands.carry_out import RUN_OPTIONS, carry_out
from labelseg.commands.completion import KNOWN, completed
from labelseg.commands.context import Invocation
from labelseg.commands.workspace_file import located
from labelseg.errors import UsageError
from labelseg.pipeline.declare.stage import Stage, names_path
from labelseg.pipeline.declare.values import declared_fields, listed_choices, read_value
from labelseg.pipeline.instances import UNSAVED, is_named, join_instance, run_command
from labelseg.pipeline.run.options import RunOptions

STAGE_OPTIONS = (
    click.option("--as", "as_name", metavar="NAME", help="Work as the instance STAGE@NAME, with parameters of its own; made if need be."),
    click.option("--only", is_flag=True, help="Run this stage alone; refuse where something it reads is not fresh."),
    click.option("--force", is_flag=True, help="Compute again even if fresh."),
    click.option(
        "--no-save", is_flag=True, help="Trial: leave labelseg.toml and the existing results as they are. See: labelseg evaluate --unsaved"
    ),
    *RUN_OPTIONS,
)
READ, NETWORK, SCHEDULE, METHOD, CRF, CALL = "What it reads", "Network", "Schedule", "Method", "Dense CRF", "This call"
GROUPS = (READ, METHOD, NETWORK, SCHEDULE, CRF, CALL)
NAMED_GROUPS = {
    NETWORK: (
        *("backbone", "weights", "take", "output_stride", "freeze_blocks", "freeze_batchnorm"),
        *("head", "width", "widths", "separable", "norm"),
    ),
    SCHEDULE: (
        *("epochs", "iterations", "min_updates", "batch_size", "optimizer", "lr", "head_lr_scale", "momentum", "weight_decay", "warmup"),
        *("warmup_share", "clip_norm", "seed", "precision", "evaluate_every", "keep", "patience"),
    ),
}
OF_THE_CALL = (
    "as_name",
    "only",
    "force",
    "no_save",
    "retrain",
    "dry_run",
    "probe",
    "keep_going",
    "device",
    "workers",
    "engine",
    "scheduler",
    "help",
)
_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


class Value(click.ParamType):
    """Text read by the rules of a stage's declaration, so that a command line and labelseg.toml obey the same ones."""

    def __init__(self, stage: Stage, field: str, kind: Any) -> None:
        self.stage = stage
        self.field = field
        self.name = _metavar(declared_fields(stage)[field][0], kind)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """Show choices as they are written; all else in capitals."""
        return f"[{self.name}]" if "|" in self.name else None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a value; errors of the declaration reach the user as they are."""
        return read_value(self.stage, self.field, value, f"{self.stage.name} --{_dashed(self.field)}")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """List the instances, splits or choices that it may name."""
        if self.name in KNOWN:
            return completed(ctx, self.name, incomplete)
        listed = listed_choices(declared_fields(self.stage)[self.field][0])
        return [CompletionItem(choice) for choice in listed if choice.startswith(incomplete)]


class StageCommand(click.Command):
    """A command whose options stand in groups: what it reads, the network, the schedule, the method, and this call."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options group by group."""
        grouped: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                grouped.setdefault(_group(param), []).append(record)
        for title in GROUPS:
            if title in grouped:
                with formatter.section(title):
                    formatter.write_dl(grouped[title])


def stage_command(stage: Stage) -> click.Command:
    """Derive the command of a stage: its parameters become options, its documentation the help."""

    def callback(**values: Any) -> None:
        ctx = click.get_current_context()
        given = {name: values[name] for name in declared_fields(stage) if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        _run_stage(ctx.obj, stage, given, values)

    command = StageCommand(
        stage.name,
        callback=callback,
        params=[_parameter(stage, name, field, kind) for name, (field, kind) in declared_fields(stage).items()],
        help=f"{stage.help}\n\nOptions given here are written to labelseg.toml; `labelseg config` shows what holds now.",
        short_help=stage.help.splitlines()[0] if stage.help else "",
        epilog=f"Example: {stage_example(stage)}",
    )
    if stage.kind == "map":
        click.option(
            "--split", metavar="SPLIT", show_default="as `labelseg run` where it ends here, else train", help="Images to work on."
        )(command)
    for option in STAGE_OPTIONS:
        option(command)
    return command


def stage_example(stage: Stage) -> str:
    """Write a call that changes a parameter and only tells what it would do."""
    numbers = [(name, field.default) for name, (field, kind) in declared_fields(stage).items() if kind in (int, float)]
    name, value = next(((name, value) for name, value in numbers if name != stage.numbered), ("", 0))
    number = f" --{_dashed(stage.numbered)} {stage.first}" if stage.numbered else ""
    return f"labelseg {stage.name}{number}{f' --{_dashed(name)} {value:g}' if name else ''} --dry-run"


def _group(param: click.Parameter) -> str:
    """Name the group that an option stands in."""
    if not isinstance(param.type, Value | click.Choice | click.types.BoolParamType) or param.name in OF_THE_CALL:
        return CALL
    if isinstance(param.type, Value) and param.type.name in ("STAGE", "SPLIT"):
        return READ
    name = param.name or ""
    if name.startswith("crf"):
        return CRF
    return next((title for title, names in NAMED_GROUPS.items() if name in names), METHOD)


def _run_stage(invocation: Invocation, stage: Stage, given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Bring one instance of a stage up to date."""
    name, given = _instance_name(stage, given, values["as_name"] or "")
    instance = join_instance(stage.name, name)
    options = RunOptions(
        force=frozenset({instance} if values["force"] else ()),
        retrain=values["retrain"],
        dry_run=values["dry_run"],
        only=values["only"],
        keep_going=values["keep_going"],
        create=bool(name),
        tag=UNSAVED if values["no_save"] else None,
        device=values["device"],
        workers=values["workers"],
        engine=values["engine"],
        scheduler=values["scheduler"],
        purpose=f"labelseg {stage.name}",
    )
    files = {name: located(invocation.root, value) for name, value in given.items() if names_path(declared_fields(stage)[name][0])}
    carry_out(
        invocation, instance, values.get("split") if stage.kind == "map" else None, {**given, **files}, options, probe=values["probe"]
    )


def _instance_name(stage: Stage, given: Mapping[str, Any], as_name: str) -> tuple[str, Mapping[str, Any]]:
    """Choose the instance to work as: the one named, or the link of a chain; also the options that are left to it."""
    if is_named(as_name) or "." in as_name:
        raise UsageError(f"--as {as_name}: expected a name without @ and dot.")
    if as_name or not stage.numbered:
        return as_name, given
    if stage.numbered not in given:
        number = _dashed(stage.numbered)
        first = run_command(join_instance(stage.name, "1"), numbered=stage.numbered)
        raise UsageError(f"{stage.name} goes {number} by {number}. Name the one to reach: {first}")
    return str(given[stage.numbered]), {name: value for name, value in given.items() if name != stage.numbered}


def _parameter(stage: Stage, name: str, field: Field, kind: Any) -> click.Option:
    """Derive the option of one parameter."""
    flag = f"--{_dashed(name)}"
    text = field.metadata["help"]
    if kind is bool:
        return click.Option([f"{flag}/--no-{_dashed(name)}"], default=field.default, show_default=True, help=text)
    choices = field.metadata.get("choices")
    if choices and not field.metadata.get("beyond") and get_origin(kind) is not tuple:
        return click.Option([flag], type=click.Choice(choices), default=field.default, show_default=True, help=text)
    return click.Option([flag], type=Value(stage, name, kind), default=_plain(field.default), show_default=True, help=text)


def _metavar(field: Field, kind: Any) -> str:
    """Name what an option takes: ``STAGE``, ``SPLIT``, ``FILE``, ``DIR``, its choices, or its type, ``NUMBER,...`` for several."""
    if field.metadata.get("beyond"):
        return "|".join(listed_choices(field))
    for declared, name in (("source", "STAGE"), ("split", "SPLIT"), ("file", "FILE"), ("folder", "DIR")):
        if field.metadata.get(declared):
            return name
    if get_origin(kind) is tuple:
        return f"{_METAVARS[get_args(kind)[0]]},..."
    return _METAVARS.get(kind, "TEXT")


def _plain(default: Any) -> Any:
    """Write a default as it would be typed: ``0.5,1.0``."""
    return (
        ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in default) if isinstance(default, tuple) else default
    )


def _dashed(name: str) -> str:
    """Write the name of a parameter as an option."""
    return name.replace("_", "-")
