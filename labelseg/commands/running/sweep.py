"""``labelseg sweep``."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.carry_out import carry_out, with_device
from labelseg.commands.context import Invocation, check_splits, no_wait, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, percent
from labelseg.errors import ItemsFailedError
from labelseg.pipeline.instances import run_command
from labelseg.pipeline.run.options import RunOptions
from labelseg.wording import counted, seconds_text

if TYPE_CHECKING:
    from labelseg.tuning.grid import Trial

PURPOSE = "labelseg sweep"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("instance", metavar="STAGE")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="--PARAMETER VALUE,VALUE...")
@click.option("--split", metavar="SPLIT", show_default="as the stage would take", help="Images to work on and to score.")
@click.option("--on", metavar="SPLIT", help="Count only the images of this split.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw mIoU over the first parameter.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with the IoU of every class.")
@with_device
@no_wait
@pass_invocation
def sweep(
    invocation: Invocation,
    instance: str,
    words: tuple[str, ...],
    split: str | None,
    on: str | None,
    plot: Path | None,
    as_json: bool,
    device: str,
    workers: int | None,
) -> None:
    """Try every combination of some values of a stage's parameters, and list them by mIoU.

    What the stage reads is brought up to date once. labelseg.toml and the existing results stay as they are. What was computed
    is not computed again: the same call goes on after an interruption, and the best values are there at once when the stage
    is run with them. Values that are lists themselves are parted by ';': --scales "1;0.5,1". The best of many on the scored images
    flatters: score it on others. To choose thresholds and exponents with images held out: labelseg tune

    Example: labelseg sweep propagate --beta 4,8,16 --iters 64,256
    """
    from labelseg.results.tags import delete
    from labelseg.tuning.grid import TAG, by_score, combinations, demand_masks, read_grid, sources_of_grid, try_all
    from labelseg.tuning.grid_plots import demand_plot, plot_trials

    workspace = invocation.workspace()
    grid = read_grid(workspace.config.stage(instance), words)
    place = split or workspace.config.split_of(instance)
    check_splits(workspace, place, on)
    demand_masks(workspace, instance, place, on)
    sources = sources_of_grid(workspace, instance, place, grid)
    if plot is not None:
        demand_plot(plot)
    options = RunOptions(device=device, workers=workers, purpose=PURPOSE)
    for source in sources:
        carry_out(
            invocation, source, place if workspace.config.stage(source).kind == "map" else None, {}, options, closing=False, partial=True
        )
    workspace = invocation.workspace()
    total = len(list(combinations(grid)))
    trials: list[Trial] = []
    tagged = dataclasses.replace(options, tag=TAG, replace_tag=True, wait=invocation.wait)
    try:
        for trial in try_all(workspace, instance, place, on, grid, tagged):
            trials.append(trial)
            talk(f"[{len(trials)}/{total}] {_values_text(trial.values)}: {_outcome(trial)}")
    finally:
        if workspace.ref(instance, place, TAG) is not None:
            delete(workspace, TAG, invocation.wait)
    ordered = by_score(trials)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(trial) for trial in ordered], indent=2))
    else:
        tell(trial_table(ordered))
    if plot is not None:
        plot_trials(plot, f"{instance} ({place})", grid, trials)
        talk(f"Drew {plot}.")
    best = ordered[0]
    if best.miou is not None:
        images = counted(best.images, "image")
        talk(f"Best of {counted(total, 'combination')} on these {images}. To use it: {_command(instance, best, split)}")
    failed = [trial for trial in ordered if trial.error]
    if failed:
        raise ItemsFailedError(f"{counted(len(failed), 'combination')} failed in part or whole. The first: {failed[0].error}")


def trial_table(trials: Sequence[Trial]) -> str:
    """Write a row for every combination."""
    from labelseg.tuning.grid_plots import shown

    names = [name.replace("_", "-") for name in trials[0].values]
    rows = [
        (
            *map(shown, trial.values.values()),
            percent(trial.miou),
            percent(trial.accuracy),
            f"{trial.computed:,}",
            seconds_text(trial.seconds),
        )
        for trial in trials
    ]
    header = (*names, "MIOU", "ACCURACY", "COMPUTED", "TIME")
    return format_table(header, rows, right=header)


def _outcome(trial: Trial) -> str:
    return f"failed: {trial.error}" if trial.miou is None and trial.error else f"mIoU {percent(trial.miou)}, {seconds_text(trial.seconds)}"


def _values_text(values: Mapping[str, Any]) -> str:
    """Write values as options."""
    from labelseg.tuning.grid_plots import shown

    options = []
    for name, value in values.items():
        dashed = name.replace("_", "-")
        options += [f"--{'' if value else 'no-'}{dashed}"] if isinstance(value, bool) else [f"--{dashed}", shown(value).strip('"')]
    return shlex.join(options)


def _command(instance: str, trial: Trial, split: str | None) -> str:
    """Write the command that runs the stage with the values of a trial."""
    return f"{run_command(instance, split or '')} {_values_text(trial.values)}"
