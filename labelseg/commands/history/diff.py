"""``labelseg diff``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, check_splits, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, one_line, percent
from labelseg.errors import MissingArtifactError, UsageError

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.results.differences import MaskDifference, ModelDifference
    from labelseg.results.standing import Named
    from labelseg.workspace import Workspace

DRAWN = 8
SHOWN = 10


@click.command()
@click.argument("first", metavar="STAGE[:TAG]")
@click.argument("second", metavar="STAGE[:TAG]")
@click.option("--split", metavar="SPLIT", help="Compare what was made for this split.  [default: train, or the one that both stand for]")
@click.option("--on", metavar="SPLIT", help="Count only the images of this split.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with the share of every image.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Draw the {DRAWN} most changed images, with both masks.",
)
@pass_invocation
def diff(invocation: Invocation, first: str, second: str, split: str | None, on: str | None, as_json: bool, plot: Path | None) -> None:
    """Compare two artifacts: the masks of two stages, of one now and under a tag, or two models.

    `labelseg diff propagate:before propagate` compares what the tag `before` keeps with what stands now. Of masks it tells
    the share of pixels that changed, from which class to which, the mIoU of one against the other and of each against the
    truth; of models, how they were made and how they score.
    """
    from labelseg.results.standing import Named, maker

    workspace = invocation.workspace()
    names = Named.parse(first), Named.parse(second)
    check_splits(workspace, on)
    one, other = _find(workspace, *names, split)
    stages = maker(workspace, one), maker(workspace, other)
    if stages[0].kind == stages[1].kind == "model":
        if on is not None or plot is not None:
            raise UsageError("diff of models: --on and --plot are for masks. Leave them out.")
        _tell_models(workspace, one, other, as_json)
        return
    for stage in stages:
        if not stage.has_masks:
            able = [s.name for s in workspace.stages.values() if s.has_masks]
            raise UsageError(f"{stage.name} makes no masks to compare. Name two models, or two of: {', '.join(able)}.")
    _tell_masks(workspace, one, other, on, as_json, plot)


def _find(workspace: Workspace, first: Named, second: Named, split: str | None) -> tuple[Ref, Ref]:
    """Find the two artifacts, both of one split."""
    from labelseg.pipeline.declare.config import DEFAULT_SPLIT
    from labelseg.results.standing import find_refs

    ones, others = ({ref.split: ref for ref in find_refs(workspace, name, split)} for name in (first, second))
    both = sorted(ones.keys() & others.keys())
    if not both:
        splits = ["a model" if list(refs) == [""] else f"on {', '.join(sorted(refs))}" for refs in (ones, others)]
        raise MissingArtifactError(
            f"{first} stands {splits[0]}, {second} {splits[1]}: there is no split of both. Run one for a split of the other."
        )
    chosen = DEFAULT_SPLIT if DEFAULT_SPLIT in both else both[0]
    if len(both) > 1:
        talk(f"Both stand for the splits {', '.join(both)}; compared is {chosen}. Choose with --split.")
    return ones[chosen], others[chosen]


def _tell_masks(workspace: Workspace, one: Ref, other: Ref, on: str | None, as_json: bool, plot: Path | None) -> None:
    """Write how masks differ."""
    from labelseg.results.differences import changed_panels, compare_masks

    found = compare_masks(workspace, one, other, on)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(found), "matrix": found.matrix.tolist()}, indent=2))
    else:
        tell("\n".join(_mask_lines(found)))
    for count, name in ((found.only_first, found.first), (found.only_second, found.second)):
        if count:
            talk(f"{count:,} {'image is' if count == 1 else 'images are'} in {name} alone and not compared.")
    if found.sizes_differ:
        count = len(found.sizes_differ)
        verbs = ("image has", "is") if count == 1 else ("images have", "are")
        talk(f"{count:,} {verbs[0]} masks of two sizes and {verbs[1]} not compared, {found.sizes_differ[0]} the first.")
    if found.no_truth:
        talk(f"Not compared with the truth: {found.no_truth}.")
    if plot is not None:
        from labelseg.results.pictures import save_picture, stack_sheets

        drawn = [image_id for image_id, share in found.image_changed.items() if share > 0][:DRAWN]
        if not drawn:
            talk(f"Nothing changed, so nothing is drawn to {plot}.")
            return
        save_picture(stack_sheets(changed_panels(workspace, one, other, drawn)), plot)
        talk(f"Drew {', '.join(drawn)}: {plot}")


def _tell_models(workspace: Workspace, one: Ref, other: Ref, as_json: bool) -> None:
    """Write how models differ."""
    from labelseg.results.differences import compare_models

    found = compare_models(workspace, one, other)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        tell("\n".join(_model_lines(found)))


def _mask_lines(found: MaskDifference) -> Iterator[str]:
    """Write sums, then classes, then the matrix of what changed, then the most changed images."""
    yield f"{found.first} -> {found.second}"
    yield from (f"  {one_line(reason)}" for reason in found.why)
    yield f"images   {found.images:,}"
    yield f"changed  {percent(found.changed)} % of {found.pixels:,} pixels"
    yield f"mIoU     {percent(found.miou)} of one against the other"
    if found.truth_images:
        yield f"truth    mIoU {percent(found.first_miou)} -> {percent(found.second_miou)} on {found.truth_images:,} images"
    moved = _moves(found)
    if moved:
        yield ""
        yield format_table(("FROM", "TO", "PIXELS", "SHARE"), moved, right=("PIXELS", "SHARE"))
    yield ""
    yield format_table(("CLASS", "IOU"), [(name, percent(value)) for name, value in found.iou.items() if value is not None], right=("IOU",))
    images = [(one_line(image_id), percent(share)) for image_id, share in found.image_changed.items() if share > 0][:SHOWN]
    if images:
        yield ""
        yield format_table(("IMAGE", "CHANGED"), images, right=("CHANGED",))


def _moves(found: MaskDifference) -> list[tuple[str, ...]]:
    """List the pairs of classes between which pixels went, the most first; all of them are in the JSON."""
    names = [*found.classes, "ignore"]
    pairs = [
        (int(found.matrix[k, m]), names[k], names[m]) for k in range(len(names)) for m in range(len(names)) if k != m and found.matrix[k, m]
    ]
    most = sorted(pairs, key=lambda row: (-row[0], row[1], row[2]))[:SHOWN]
    return [(one, other, f"{count:,}", percent(count / found.pixels)) for count, one, other in most]


def _model_lines(found: ModelDifference) -> Iterator[str]:
    """Write what differs in how models were made, and their scores."""
    yield f"{found.first} -> {found.second}"
    yield from (f"  {one_line(reason)}" for reason in found.why)
    if not found.why:
        yield "  made in the same way"
    yield from (f"  {one_line(name)}: {'the same' if same else 'changed'}" for name, same in found.inputs.items())
    yield f"  tensors: {'the same, byte for byte' if found.equal else 'changed'}"
    if found.metrics:
        yield ""
        rows = [(one_line(name), *map(_score, pair)) for name, pair in found.metrics.items()]
        yield format_table(("METRIC", "FIRST", "SECOND"), rows, right=("FIRST", "SECOND"))


def _score(value: Any) -> str:
    """Write a metric."""
    return "-" if value is None else f"{value:.4g}"
