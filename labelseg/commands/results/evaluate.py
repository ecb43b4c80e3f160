"""``labelseg evaluate``."""

from __future__ import annotations

import dataclasses
import json
from itertools import compress
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, check_splits, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, percent
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.instances import UNSAVED, command_on
from labelseg.pipeline.plan.reasons import reasons_text
from labelseg.results.standing import missing_items
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.results.scores import Score
    from labelseg.workspace import Workspace


@click.command()
@click.argument("stages", nargs=-1, metavar="[STAGE]...")
@click.option("--split", metavar="SPLIT", help="Score only what was made for this split.")
@click.option("--on", metavar="SPLIT", help="Count only the images of this split.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="T",
    show_default="that of labelseg.toml, or the best on these images",
    help="Background score that turns activation maps into masks.",
)
@click.option(
    "--sweep",
    "named",
    metavar="SET",
    help="Find the thresholds and alphas that are best on the masks of SET, a split or a list of images, and score them on those of --on, "
    "or on all others.",
)
@click.option("--per-class", is_flag=True, help="Add the IoU of every class.")
@click.option("--unsaved", is_flag=True, help="Score the trial results of --no-save.")
@click.option("--tag", metavar="NAME", help="Score what a tag keeps; see: labelseg tag --list")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with the IoU of every class.")
@pass_invocation
def evaluate(
    invocation: Invocation,
    stages: tuple[str, ...],
    split: str | None,
    on: str | None,
    threshold: float | None,
    named: str | None,
    per_class: bool,
    unsaved: bool,
    tag: str | None,
    as_json: bool,
) -> None:
    """Compare masks with the ground truth: mIoU of every stage that makes masks, and of cam.

    One confusion matrix over all images; pixels of 255 in the truth do not count; the mean is over the classes present in
    the truth, background included where the data has one.

    With --sweep: the threshold of activation maps, the alpha of refine and what decides about background in propagate. Chosen on one set of
    masks and scored on another, a score flatters nobody. Nothing is written; labelseg tune does that.
    """
    from labelseg.results.scores import score, scored_refs
    from labelseg.results.truth_cache import TruthCache

    if unsaved and tag is not None:
        raise UsageError("evaluate: expected one of --unsaved and --tag NAME.")
    workspace = invocation.workspace()
    check_splits(workspace, split, on)
    if named is not None:
        from labelseg.commands.results.evaluate_sweep import tell_sweep

        if threshold is not None or per_class or unsaved or tag is not None:
            raise UsageError("evaluate --sweep: goes with STAGE, --on, --split and --json alone.")
        tell_sweep(workspace, stages, named, split, on, as_json)
        return
    refs = scored_refs(workspace, stages, split, UNSAVED if unsaved else tag)
    scores: list[Score] = []
    errors: list[DataError] = []
    truths = TruthCache(workspace.dataset)
    for ref in refs:
        try:
            scores.append(score(workspace, ref, on, threshold, truths=truths))
        except DataError as error:
            if stages:
                raise
            errors.append(error)
    if not scores:
        raise errors[0]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in scores], indent=2))
    else:
        tell(score_table(scores))
        if per_class:
            tell("\n" + class_table(scores))
    for entry in scores:
        if entry.tuned:
            talk(
                f"* threshold {entry.threshold:g} was chosen on the scored images, which flatters {entry.instance}. To fix it: --threshold"
            )
        if entry.learned:
            whose = f"the masks of {entry.learned:,} of these images were" if entry.learned > 1 else "the mask of one of these images was"
            talk(f"+ {whose} learned from, which flatters {entry.instance} ({entry.split}).")
        if entry.unreadable:
            first = next(iter(entry.unreadable.values()))
            what = counted(len(entry.unreadable), "true mask that cannot be used does", "true masks that cannot be used do")
            talk(f"{entry.instance} ({entry.split}): {what} not count: {first}")
        if entry.unknown:
            talk(f"{entry.instance} ({entry.split}) does not know {', '.join(entry.unknown)}: their pixels count as background.")
        if entry.left_out:
            verb = "has no true mask and does" if entry.left_out == 1 else "have no true mask and do"
            talk(f"{entry.instance} ({entry.split}): {counted(entry.left_out, 'image')} {verb} not count.")
        if entry.data_changes:
            talk(f"{entry.instance} ({entry.split}) was made with other classes than the data has now: {entry.data_changes}.")
    for line in judgements(scores):
        talk(line)
    for missing in filter(None, map(missing_items, refs)):
        talk(missing)
    for skipped in (*errors, *workspace.catalog.damaged_refs(tagged=bool(unsaved or tag))):
        talk(str(skipped))
    if not (unsaved or tag):
        _tell_states(workspace, scores)


def judgements(scores: list[Score]) -> list[str]:
    """Say where a step is worse than the one before on the same images, and where masks are no better than none."""
    lines = []
    before: dict[tuple[str, str], Score] = {}
    for entry in scores:
        name = f"{entry.instance} ({entry.split})"
        if entry.miou is None:
            continue
        if entry.baseline == 1:
            lines.append(
                f"{name}: the true masks hold no pixel of a class but background. If 255 marks objects, write the class: 255 is ignored."
            )
            continue
        if entry.baseline is not None and entry.miou < entry.baseline + 0.01:
            lines.append(
                f"{name} is no better than background everywhere: mIoU {percent(entry.miou)} against {percent(entry.baseline)}. "
                f"Look at how it was made: {command_on('show', entry.instance, entry.split)}"
            )
        if few_decide(entry):
            even = "" if entry.even is None else f", which is {percent(entry.even)} where every image weighs alike"
            lines.append(
                f"{name}: {counted(entry.heavy, 'large image')} of {entry.images:,} "
                f"{'holds' if entry.heavy == 1 else 'hold'} more than half of the scored pixels, and so decide the mIoU{even}."
            )
        last = before.get((entry.split, entry.on))
        if last is not None and last.images == entry.images:
            now, then = (entry.even, last.even) if few_decide(entry) else (entry.miou, last.miou)
            if now is not None and then is not None and now < then:
                lines.append(f"{name} is worse than {last.instance} before it: mIoU {percent(now)} against {percent(then)}.")
        if "@" not in entry.instance:
            before[entry.split, entry.on] = entry
    return lines


def few_decide(entry: Score) -> bool:
    """Whether a score is that of a few large images: at most a fifth of them hold more than half of the pixels."""
    return 0 < entry.heavy <= entry.images / 5


def score_table(scores: list[Score]) -> str:
    """Write a row for every scored artifact."""
    rows = [
        (
            entry.instance,
            entry.split if entry.on == entry.split else f"{entry.split}, on {entry.on}",
            f"{entry.images:,}{'+' if entry.learned else ''}",
            percent(entry.baseline),
            percent(entry.miou),
            percent(entry.accuracy),
            "" if entry.threshold is None else f"{entry.threshold:g}{'*' if entry.tuned else ''}",
            percent(entry.old),
            percent(entry.new),
        )
        for entry in scores
    ]
    header = ("STAGE", "SPLIT", "IMAGES", "BASELINE", "MIOU", "ACCURACY", "THRESHOLD", "OLD", "NEW")
    steps = any(entry.new is not None or entry.old is not None for entry in scores)
    based = any(entry.baseline is not None for entry in scores)
    shown = [True] * 3 + [based, True, True] + [any(entry.threshold is not None for entry in scores), steps, steps]
    return format_table(tuple(compress(header, shown)), [tuple(compress(row, shown)) for row in rows], right=header[2:])


def class_table(scores: list[Score]) -> str:
    """Write a row for every class and a column for every scored artifact."""
    header = ("CLASS", *(f"{entry.instance} ({entry.split})" for entry in scores))
    rows = [(name, *(percent(entry.iou[name]) for entry in scores)) for name in scores[0].iou]
    return format_table(header, rows, right=header[1:])


def _tell_states(workspace: Workspace, scores: list[Score]) -> None:
    """Report which scored artifacts are not what the configuration asks for now."""
    states = {(row.instance, row.split): row for row in workspace.status()}
    for entry in scores:
        row = states.get((entry.instance, entry.split))
        if row is not None and row.state not in ("fresh", "failed"):
            talk(f"{entry.instance} ({entry.split}) is {row.state}: {reasons_text(row.reasons)}. Scoring the existing result.")
