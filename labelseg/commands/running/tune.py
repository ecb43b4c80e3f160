"""``labelseg tune``."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.carry_out import carry_out, with_device
from labelseg.commands.context import Invocation, check_splits, no_wait, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, percent
from labelseg.data.folder.splits import read_split
from labelseg.errors import DataError
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.instances import table_of
from labelseg.pipeline.run.options import RunOptions
from labelseg.wording import counted, seconds_text

if TYPE_CHECKING:
    from labelseg.tuning.images import TuningImages
    from labelseg.tuning.tuner import Choice
    from labelseg.workspace import Workspace

PURPOSE = "labelseg tune"


@click.command()
@click.option(
    "--of",
    "instances",
    metavar="STAGE",
    multiple=True,
    show_default="refine, then propagate",
    help="What to tune: refine, propagate or instances of these.",
)
@click.option(
    "--on", "split", metavar="SPLIT", default="train", show_default=True, help="Split whose images with masks settings are chosen on."
)
@click.option(
    "--list",
    "listed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take only the images of this list.",
)
@click.option(
    "--by", type=click.Choice(["masks", "tags"]), show_default="masks where there are any", help="What tells a good setting from a bad one."
)
@click.option(
    "--most", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Take at most N images, drawn by chance."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of what is drawn and held out.")
@click.option("--dry-run", is_flag=True, help="Choose from what has been computed, and write and train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_device
@no_wait
@pass_invocation
def tune(
    invocation: Invocation,
    instances: tuple[str, ...],
    split: str,
    listed: Path | None,
    by: str | None,
    most: int,
    seed: int,
    dry_run: bool,
    as_json: bool,
    device: str,
    workers: int | None,
) -> None:
    """Choose thresholds, background exponents and CRF widths from some masks, and write them to labelseg.toml.

    The threshold of cam, then refine, then propagate; each after the one before, with AffinityNet trained in between. Every second image is
    held out, and its score printed beside that of the images chosen on. Without masks settings are chosen by the tags, which is
    less sure. docs/affinitynet.md tells how settings are chosen.
    """
    from labelseg.tuning.images import tuning_images
    from labelseg.tuning.tuner import CHAIN, Tuner, check_tunable, make_judge, sources_of, standing_ref

    workspace = invocation.workspace()
    names = _listed_names(workspace, split, listed)
    order = instances or CHAIN
    for instance in order:
        check_tunable(workspace, instance)
    tuning_images(workspace, split, (), listed=names, by=by or "", most=most, seed=seed)  # refuses before anything runs
    options = RunOptions(device=device, workers=workers, purpose=PURPOSE)
    choices: list[Choice] = []
    images: TuningImages | None = None
    score = ""
    begun = time.monotonic()
    for instance in order:
        maps, models = sources_of(workspace, instance)
        untrained = [model for model in models if workspace.ref(model) is None]
        if dry_run and untrained:
            talk(f"{instance} is left out: {untrained[0]} has not been trained, and a dry run trains nothing.")
            continue
        for source in () if dry_run else (*models, *maps):
            place = split if source in maps else None
            carry_out(invocation, source, place, {}, options, closing=False, partial=True)
        workspace = invocation.workspace()
        read = [*(standing_ref(workspace, source, split) for source in maps), *(standing_ref(workspace, model, "") for model in models)]
        chosen_by = tuning_images(workspace, split, read, listed=names, by=by or "", most=most, seed=seed)
        if images is None:
            for line in _told(chosen_by, split, seed):
                talk(line)
        images = chosen_by
        chosen_device = workspace.pick_device(device)
        judge = make_judge(workspace, images, instance, split, chosen_device)
        score = judge.name
        tuner = Tuner(workspace, split, images, judge, chosen_device)
        for choice in tuner.tune(instance):
            choices.append(choice)
            if choice.changes and not dry_run:
                with workspace_lock(workspace.folder, PURPOSE, invocation.wait):
                    workspace.write_config(choice.table, choice.changes)
    if images is None:
        return
    if as_json:
        click.echo(json.dumps(_record(images, split, seed, score, choices), indent=2))
    else:
        tell(f"{settings_table(choices)}\n\n{scores_table(choices, images, score)}")
    for line in (*_remarks(choices, images), _ending(workspace, choices, dry_run, time.monotonic() - begun)):
        talk(line)


def settings_table(choices: list[Choice]) -> str:
    """Write a row for every value that was looked for."""
    rows = [
        (f"{table_of(choice.table)}.{name}", "-" if choice.before.get(name) is None else f"{choice.before[name]:g}", f"{value:g}")
        for choice in choices
        for name, value in choice.values.items()
    ]
    return format_table(("KEY", "WAS", "NOW"), rows, right=("WAS", "NOW"))


def scores_table(choices: list[Choice], images: TuningImages, judge: str) -> str:
    """Write a row for every step: the scores before and after, on the images chosen on and on those held out."""
    rows = [
        (choice.step, f"{choice.tried}", *map(percent, (choice.score_before, choice.score, choice.held_before, choice.held)))
        for choice in choices
    ]
    on, out = f"{judge} ON {len(images.chosen_on)}", f"HELD OUT {len(images.held_out)}"
    header = ("STEP", "TRIED", f"{on}, BEFORE", "AFTER", f"{out}, BEFORE", "AFTER ")
    return format_table(header, rows, right=header[1:])


def _listed_names(workspace: Workspace, split: str, listed: Path | None) -> list[str] | None:
    """Read the list of images to take.

    Raises:
        UsageError: there is no such split.
        DataError: the list names no image of it.
    """
    check_splits(workspace, split)
    if listed is None:
        return None
    named = set(read_split(listed, workspace.dataset)) & set(workspace.dataset.ids(split))
    if not named:
        again = f"labelseg tune --on SPLIT --list {shlex.quote(str(listed))}"
        raise DataError(f"{listed}: names no image of the split '{split}'. Name the split they are in: {again}")
    return sorted(named)


def _told(images: TuningImages, split: str, seed: int) -> list[str]:
    """Say what settings are chosen on."""
    what = "by their masks" if images.by == "masks" else "by their tags, which is less sure than by a dozen masks"
    held = f"; {counted(len(images.held_out), 'image')} held out (seed {seed})" if images.held_out else "; none held out"
    return [f"Chosen on {counted(len(images.chosen_on), 'image')} of {split}, {what}{held}.", *images.notes]


def _remarks(choices: list[Choice], images: TuningImages) -> list[str]:
    """Say where the choice did not hold, or might go on."""
    lines = []
    for choice in choices:
        if not choice.changes:
            within = f" by more than chance: {100 * choice.gain:.1f} with an error of {100 * choice.error:.1f}" if choice.gain > 0 else ""
            lines.append(f"{choice.step}: nothing tried is better than what stands{within}. It is kept.")
        elif choice.held is not None and choice.held_before is not None and choice.held < choice.held_before:
            scores = f"{percent(choice.held)} against {percent(choice.held_before)}"
            lines.append(f"{choice.step}: no gain on the images held out ({scores}): it may be chance, and more masks would tell.")
        if choice.changes and choice.edges:
            lines.append(f"{choice.step}: {', '.join(choice.edges)} ended at the border of what was tried; beyond it may be better.")
    return lines


def _ending(workspace: Workspace, choices: list[Choice], dry_run: bool, seconds: float) -> str:
    """Say what was written, and what comes next."""
    count = sum(len(choice.changes) for choice in choices)
    took = f"in {seconds_text(seconds)}"
    if dry_run:
        return f"Chosen {took}; nothing was written. To write it: labelseg tune"
    if not count:
        return f"Chosen {took}: labelseg.toml stays as it was."
    return f"Wrote {counted(count, 'value')} to {workspace.config.path}, chosen {took}. Next: labelseg run, then labelseg evaluate"


def _record(images: TuningImages, split: str, seed: int, judge: str, choices: list[Choice]) -> dict[str, object]:
    """Put everything that was found into plain values."""
    return {
        "split": split,
        "by": images.by,
        "score": judge,
        "seed": seed,
        "chosen_on": list(images.chosen_on),
        "held_out": list(images.held_out),
        "choices": [{**dataclasses.asdict(choice), "changes": choice.changes} for choice in choices],
    }
