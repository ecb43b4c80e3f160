"""``labelseg log``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.plan_text import done_word
from labelseg.commands.tables import format_table, one_line
from labelseg.errors import MissingArtifactError, UsageError
from labelseg.wording import counted, seconds_text

if TYPE_CHECKING:
    from labelseg.results.history import NodeRecord, RunRecord

LONGEST = 100  # characters of an error in the table of runs; all of it is in the run itself


@click.command()
@click.argument("instance", metavar="[STAGE]", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Tell of that many runs, the newest.")
@click.option("--run", "run", metavar="ID", help="Tell all of one run; the beginning of its id is enough, `last` is the newest.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with everything that is known of each run.")
@pass_invocation
def log(invocation: Invocation, instance: str | None, limit: int, run: str | None, as_json: bool) -> None:
    """Tell what the runs did, the newest first: when, what was computed and trained, how long, and what failed.

    STAGE leaves the runs that worked on it. A run that found all fresh leaves no log.
    """
    from labelseg.results.history import logless, read_run, run_ids, runs
    from labelseg.results.standing import ref_name

    folder = invocation.workspace().folder
    if run is not None:
        found = [read_run(folder, _run_id(run_ids(folder), run))]
    else:
        found = list(islice((record for record in runs(folder) if _concerns(record, instance)), limit))
    if not found and instance is not None:
        raise MissingArtifactError(f"no run worked on {instance}. See all runs: labelseg log")
    if as_json:
        told = [{**dataclasses.asdict(record), "first_error": record.first_error} for record in found]
        click.echo(json.dumps(told[0] if run is not None else told, indent=2))
    elif run is not None:
        tell("\n".join(_run_lines(found[0])))
    elif found:
        tell(_runs_table(found))
    else:
        talk("Nothing was run here yet. Run: labelseg run")
    if run is None and instance is None:
        for ref in logless(invocation.workspace()):
            talk(f"No log is left of the run {one_line(ref.run)}, from which {ref_name(ref)} came.")
    for line in (line for record in found for line in _damages(folder, record)):
        talk(line)


def _damages(folder: Path, record: RunRecord) -> Iterator[str]:
    """Tell what is wrong with the log of a run."""
    path = folder / "runs" / record.id
    if record.unreadable:
        yield f"{path}: {counted(record.unreadable, 'line is', 'lines are')} damaged or none of ours, and left out."
    if record.missing:
        yield f"{path}: {counted(record.missing, 'line is', 'lines are')} gone."
    if record.missing is None and record.state != "running":
        yield f"{path}: its end is missing: the run goes on, was killed, or lines are gone."
    if record.state == "unreadable" and not record.unreadable:
        yield f"{path}: no line is left."


def _run_id(known: list[str], run: str) -> str:
    """Find a run by the beginning of its id."""
    found = known[:1] if run == "last" else [name for name in known if name == run] or [name for name in known if name.startswith(run)]
    if not found:
        raise MissingArtifactError(f"--run {run}: there is no such run. See all runs: labelseg log")
    if len(found) > 1:
        raise UsageError(f"--run {run}: {len(found)} runs begin so, {found[-1]} the first. Write more of the id.")
    return found[0]


def _concerns(record: RunRecord, instance: str | None) -> bool:
    """Whether a run worked on an instance."""
    return instance is None or any(node.instance == instance for node in record.nodes)


def _runs_table(records: list[RunRecord]) -> str:
    """Write a row for every run."""
    rows = [
        (
            record.id,
            _time(record.started),
            record.state,
            seconds_text(record.seconds),
            _asked(record),
            _summary(record.nodes),
            _cut(one_line(record.first_error)),
        )
        for record in records
    ]
    return format_table(("RUN", "UTC", "STATE", "TIME", "COMMAND", "WHAT", "FIRST ERROR"), rows, right=("TIME",))


def _summary(nodes: tuple[NodeRecord, ...]) -> str:
    """Tell in one line what was done: ``trained train-net; computed cam, spread``."""
    by_action: dict[str, list[str]] = {}
    for node in nodes:
        by_action.setdefault(done_word(node.action, node.instance), []).append(node.instance)
    return one_line("; ".join(f"{action} {', '.join(dict.fromkeys(names))}" for action, names in by_action.items()))


def _run_lines(record: RunRecord) -> Iterator[str]:
    """Write all that is known of a run."""
    yield f"run      {record.id}"
    if record.purpose:
        yield f"command  {_asked(record)}"
    if record.params:
        yield f"given    {one_line(', '.join(f'{name} = {json.dumps(value)}' for name, value in record.params.items()))}"
    if record.tag:
        yield f"tag      {one_line(record.tag)}"
    if record.version:
        yield f"labelseg {one_line(record.version)}"
    yield f"began    {_time(record.started)} UTC"
    yield f"ended    {_time(record.ended)} UTC, {seconds_text(record.seconds)} of work"
    yield f"state    {record.state}"
    yield ""
    rows = [
        (
            one_line(f"{node.instance} ({node.split})" if node.split else node.instance),
            one_line(done_word(node.action, node.instance)),
            f"{node.computed:,} of {node.total:,}" if node.action == "computed" else "",
            f"{node.failed:,}" if node.failed else "",
            seconds_text(node.seconds),
            one_line("; ".join(node.reasons)),
        )
        for node in record.nodes
    ]
    yield format_table(("STAGE", "WORK", "IMAGES", "FAILED", "TIME", "WHY"), rows, right=("IMAGES", "FAILED", "TIME"))
    errors = [f"{node.instance}: {node.error}" for node in record.nodes if node.error and not node.failed]
    errors += [f"{failure['instance']}, {failure['id']}: {failure['error']}" for failure in record.failures]
    yield from ["", *map(one_line, errors)] if errors else ()


def _asked(record: RunRecord) -> str:
    """Tell what was asked for; logs of earlier versions do not."""
    return one_line(" ".join([record.purpose, f"({record.target}{', ' if record.split else ''}{record.split})"]) if record.purpose else "-")


def _time(stamp: str) -> str:
    """Write a time without its zone, which is UTC."""
    return stamp[:19].replace("T", " ") or "-"


def _cut(text: str) -> str:
    """Shorten a long text."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
