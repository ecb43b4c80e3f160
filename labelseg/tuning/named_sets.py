"""Settings chosen on the masks of one named set of images, and scored on those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labelseg.data.grey_masks import demand_class_ids
from labelseg.errors import DataError, MissingArtifactError, UsageError
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.graph import resolve
from labelseg.results.scores import learned_images
from labelseg.results.standing import Named, find_refs
from labelseg.tuning.images import TuningImages, usable_masks
from labelseg.tuning.judges import TrueMasks
from labelseg.tuning.stored_items import StoredItems
from labelseg.tuning.tuner import TUNABLE, Choice, Tuner, sources_of
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.workspace import Workspace

SCORED = ("threshold", "alpha", "background_weight")  # the other readings of refine follow from alpha, and no mask of theirs is scored


def sweepable(workspace: Workspace, split: str | None) -> list[str]:
    """List what can be swept with what has been computed, in the order of the stages: along the chain to the target, and without a name.

    Raises:
        MissingArtifactError: nothing can be.
    """
    config = workspace.config
    target = config.run.get("target")
    chain = [node.instance for node in resolve(config, target, config.split_of(target))] if isinstance(target, str) and target else []
    able = [name for name in dict.fromkeys((*chain, "cam", *TUNABLE)) if _is_able(workspace, name) and _has_run(workspace, name, split)]
    if not able:
        raise MissingArtifactError("evaluate --sweep: nothing has been computed that has a threshold or an alpha. Run: labelseg run")
    stages = list(workspace.stages)
    return sorted(able, key=lambda name: (stages.index(stage_of(name)), name))


def sweep_sets(workspace: Workspace, instance: str, split: str | None, chosen: Sequence[str], scored: Sequence[str] | None) -> TuningImages:
    """Find the images to choose on and those to score: they have what the instance reads, and a mask that no model behind it learned from.

    Args:
        workspace: The workspace.
        instance: What is swept.
        split: Split whose artifacts are read; None reads those of every split.
        chosen: Ids of the named set to choose on.
        scored: Ids of the set to score; None takes all others. What is among the chosen ones is left out.

    Raises:
        UsageError: the instance has neither a threshold nor an alpha.
        DataError: one of the sets holds no such image.
    """
    if not _is_able(workspace, instance):
        raise UsageError(f"evaluate --sweep {instance}: it has no threshold and no alpha. Name activation maps, {' or '.join(TUNABLE)}.")
    maps, models = _reads(workspace, instance)
    there = set.intersection(*(set(StoredItems(workspace, name, split)) for name in maps))
    refs = [
        *(ref for name in maps for ref in find_refs(workspace, Named(name), split)),
        *(find_refs(workspace, Named(m))[0] for m in models),
    ]
    learned = set().union(*(learned_images(workspace, workspace.catalog.named(ref).recipe) for ref in refs))
    own = set(chosen)
    wanted = sorted(there) if scored is None else scored
    notes, found = [], []
    for name, ids in (("to choose on", chosen), ("to score", [image_id for image_id in wanted if image_id not in own])):
        masked = [image_id for image_id in ids if image_id in there and workspace.dataset.has(image_id, "mask")]
        free = [image_id for image_id in masked if image_id not in learned]
        if not free:
            why = "the masks of all of them were learned from" if masked else f"none of them has a mask and what {instance} reads"
            raise DataError(f"evaluate --sweep {instance}: of the images {name}, {why}. Name other sets: --sweep SPLIT --on SPLIT")
        demand_class_ids(workspace.dataset, free)
        classes_of, broken = usable_masks(workspace.dataset, free)
        if not classes_of:
            raise next(iter(broken.values()))
        left_out = len(masked) - len(classes_of)
        if left_out:
            notes.append(f"{instance}: {counted(left_out, 'image')} {name} left out, whose masks were learned from or cannot be used.")
        found.append(tuple(classes_of))
    return TuningImages("masks", found[0], found[1], tuple(notes))


def sweep(workspace: Workspace, instance: str, split: str | None, images: TuningImages, device: str) -> Choice:
    """Find the thresholds and alphas of an instance that score highest on the images to choose on, and score them on the others.

    Widths of a CRF stay as they are, and the best that was found is taken, whatever its gain. Nothing is written.
    """
    judge = TrueMasks(workspace.dataset, workspace.dataset.classes)
    tuner = Tuner(workspace, split, images, judge, device, kernels=False, cautious=False)
    if workspace.config.stage(instance).has_scores:
        return tuner.threshold(instance)
    choice = tuner.tune(instance)[-1]
    return replace(choice, values={name: value for name, value in choice.values.items() if name in SCORED})


def _is_able(workspace: Workspace, instance: str) -> bool:
    """Whether an instance has a threshold or an alpha."""
    return workspace.config.stage(instance).has_scores or stage_of(instance) in TUNABLE


def _reads(workspace: Workspace, instance: str) -> tuple[list[str], list[str]]:
    """List the maps and the models that sweeping an instance reads."""
    return ([instance], []) if workspace.config.stage(instance).has_scores else sources_of(workspace, instance)


def _has_run(workspace: Workspace, instance: str, split: str | None) -> bool:
    """Whether all that sweeping an instance reads has been computed."""
    maps, models = _reads(workspace, instance)
    try:
        for name in maps:
            find_refs(workspace, Named(name), split)
        for name in models:
            find_refs(workspace, Named(name))
    except MissingArtifactError:
        return False
    return True
