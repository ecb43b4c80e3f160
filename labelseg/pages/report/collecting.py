"""Collects what a report tells of a workspace. What is damaged or missing is told and left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg import __version__
from labelseg.errors import DataError, LabelsegError, MissingArtifactError
from labelseg.pages.gallery.choice import worth_a_look
from labelseg.pages.gallery.panels import Panels
from labelseg.pages.gallery.records import image_record, panel_record
from labelseg.pages.parts.layers import photo_jpeg, shrunk_size
from labelseg.pages.parts.pieces import data_address
from labelseg.pages.report.report_facts import BalanceFacts, ConfusionFacts, ReportFacts, ScoreFacts, ThresholdFacts
from labelseg.pages.report.run_facts import stage_facts
from labelseg.pipeline.engines.progress import show_progress
from labelseg.pipeline.plan.runlog import now
from labelseg.quality.chain import chain_refs, has_say, masked_ref
from labelseg.quality.kept import ImageQuality, Measured
from labelseg.quality.measuring import measure
from labelseg.results.scores import Counted, number_or_none, score_counts
from labelseg.results.standing import ref_name
from labelseg.results.truth_cache import TruthCache

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.workspace import Workspace

LONGEST = 400  # pixels of the longer side of a picture
IMAGES = 50


def collect(
    workspace: Workspace,
    *,
    split: str | None = None,
    instance: str = "",
    images: int = IMAGES,
    longest: int = LONGEST,
) -> ReportFacts:
    """Collect what a report tells.

    Args:
        workspace: The workspace.
        split: Split whose images are shown; None takes the one whose masks are measured.
        instance: Whose masks are measured; empty takes the last of the chain.
        images: Most images to show.
        longest: Pixels of the longer side of their pictures.

    Raises:
        UsageError, MissingArtifactError: the instance named makes no masks, or never ran.
    """
    troubles: list[str] = []
    ref = _measured_ref(workspace, instance, split, troubles)
    split = split or (ref.split if ref else _shown_split(workspace))
    stages, curves = stage_facts(workspace, troubles)
    measured = _measured(workspace, ref, troubles)
    counted = _counted(workspace, ref.instance if ref else "", troubles)
    panels = Panels(workspace, split, ref.instance if ref else "")
    troubles += panels.troubles
    if panels.ids and not panels.has_truth:
        troubles.append("There are no true masks of these images: no mIoU, no confusion matrix and no threshold curve can be shown.")
    shown = worth_a_look(measured.images, images) if measured else [ImageQuality(image_id, "") for image_id in panels.ids[:images]]
    gallery = []
    with show_progress(len(shown), "pictures") as progress:
        for number, entry in enumerate(shown):
            try:
                gallery.append(embedded_image(panels, entry, number, longest))
            except (DataError, OSError) as error:
                troubles.append(f"{entry.id} is left out: {error}")
            progress.update(1)
    own = next((one for one in counted if ref and (one.score.instance, one.score.split) == (ref.instance, ref.split)), None)
    return ReportFacts(
        title=Path(workspace.root).resolve().name,
        made=now(),
        version=__version__,
        split=split,
        measured=ref.instance if ref else "",
        images=len(panels.ids),
        classes=panels.classes,
        stages=stages,
        scores=[_score_facts(one) for one in counted],
        thresholds=[facts for one in counted if (facts := _threshold_facts(one)) is not None],
        confusion=None if own is None else _confusion_facts(own),
        curves=curves,
        balance=_balance(workspace, split, own, panels.classes, troubles),
        gallery=gallery,
        panels=panels.stages,
        troubles=list(dict.fromkeys(troubles)),
    )


def embedded_image(panels: Panels, entry: ImageQuality, number: int, longest: int) -> dict[str, Any]:
    """Write an image for the gallery with all its pictures in it.

    Raises:
        DataError: the photo cannot be read.
    """
    image = panels.photo(entry.id)
    size = shrunk_size((image.shape[0], image.shape[1]), longest)
    drawn = [panels.panel(stage, entry.id, size) for stage in panels.stages]
    record = image_record(entry, number, panels.tags(entry.id), panels.classes)
    photo = data_address(photo_jpeg(image, size), "image/jpeg")
    return {**record, "width": size[1], "height": size[0], "photo": photo, "panels": [panel_record(panel) for panel in drawn]}


def _measured_ref(workspace: Workspace, instance: str, split: str | None, troubles: list[str]) -> Ref | None:
    """Find whose masks are measured; None where there are none yet, unless one was named."""
    try:
        return masked_ref(workspace, instance, split)
    except MissingArtifactError as error:
        if instance:
            raise
        troubles.append(f"Quality cannot be told: {error}")
        return None


def _shown_split(workspace: Workspace) -> str:
    """Name the first split in which a stage has made anything, train before others; train where none has."""
    return next((name for name in ["train", *workspace.dataset.splits()] if chain_refs(workspace, name)), "train")


def _measured(workspace: Workspace, ref: Ref | None, troubles: list[str]) -> Measured | None:
    """Measure the quality of masks; None where there are none that can be read."""
    if ref is None:
        return None
    try:
        with show_progress(ref.count, f"quality {ref.instance}") as progress:
            measured, left_out = measure(workspace, ref, step=progress.update)
    except LabelsegError as error:
        troubles.append(f"{ref_name(ref)} cannot be measured: {error}")
        return None
    troubles += [f"{name}: {error}" for name, error in left_out.items()]
    return measured


def _counted(workspace: Workspace, instance: str, troubles: list[str]) -> list[Counted]:
    """Score what the chain has made in every split; what has no true masks, or is damaged, is left out."""
    found, truths = [], TruthCache(workspace.dataset)
    for split in workspace.dataset.splits():
        for ref in chain_refs(workspace, split, instance):
            if not has_say(workspace, ref):
                continue
            try:
                found.append(score_counts(workspace, ref, curve=True, truths=truths))
            except DataError:
                continue  # it is told once that there are no true masks
            except LabelsegError as error:
                troubles.append(f"{ref_name(ref)} cannot be scored: {error}")
    troubles += [str(error) for error in workspace.catalog.damaged_refs()]
    return found


def _score_facts(counted: Counted) -> ScoreFacts:
    score = counted.score
    return ScoreFacts(
        score.instance, score.split, score.images, score.miou, score.accuracy, score.iou, score.threshold, score.tuned, score.learned
    )


def _threshold_facts(counted: Counted) -> ThresholdFacts | None:
    """Tell the threshold curve of activation maps; None for masks."""
    if counted.sweep is None or counted.score.threshold is None:
        return None
    miou = [number_or_none(value) for value in counted.sweep.miou()]
    return ThresholdFacts(counted.score.instance, counted.score.split, counted.sweep.thresholds.tolist(), miou, counted.score.threshold)


def _confusion_facts(counted: Counted) -> ConfusionFacts:
    return ConfusionFacts(counted.score.instance, counted.score.split, list(counted.score.iou), counted.matrix.counts.tolist())


def _balance(workspace: Workspace, split: str, counted: Counted | None, classes: Sequence[str], troubles: list[str]) -> list[BalanceFacts]:
    """Tell how often each class occurs in a split."""
    tagged = _tag_counts(workspace, split, len(classes), troubles)
    true, given = ({}, {}) if counted is None else _pixel_shares(counted)
    found = []
    for k, name in enumerate(classes):
        is_background = k == 0 and workspace.dataset.has_background
        found.append(BalanceFacts(name, None if tagged is None or is_background else int(tagged[k]), true.get(name), given.get(name)))
    return found


def _tag_counts(workspace: Workspace, split: str, classes: int, troubles: list[str]) -> np.ndarray | None:
    """Count the images that are tagged with each class, (K,); None where none is tagged, or the tags cannot be read."""
    dataset, counts, known = workspace.dataset, np.zeros(classes, np.int64), False
    try:
        for image_id in dataset.ids(split):
            held = dataset.tags(image_id) if dataset.has(image_id, "tags") else None
            known |= held is not None
            counts[[k for k in held or () if k < classes]] += 1
    except LabelsegError as error:
        troubles.append(f"Tags of {split} cannot be counted: {error}")
        return None
    return counts if known else None


def _pixel_shares(counted: Counted) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Share of the counted pixels that each class has in the truth, and in the masks."""
    counts, names = counted.matrix.counts, list(counted.score.iou)
    whole = max(int(counts.sum()), 1)
    true, given = counts.sum(axis=1) / whole, counts.sum(axis=0) / whole
    return dict(zip(names, true.tolist(), strict=True)), dict(zip(names, given.tolist()[: len(names)], strict=True))
