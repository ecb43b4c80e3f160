"""Who has a say on the masks of a split: the artifacts along the chain. Reads plain JSON only."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from labelseg.errors import ArtifactError, LabelsegError, MissingArtifactError, UsageError
from labelseg.pipeline.instances import is_named, stage_of
from labelseg.pipeline.plan.class_lists import mixed_ids, recorded_classes
from labelseg.pipeline.plan.graph import resolve
from labelseg.quality.kept import ImageQuality, kept_measured
from labelseg.results.standing import Named, find_refs, ref_name

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.workspace import Workspace


def chain_refs(workspace: Workspace, split: str, instance: str = "") -> list[Ref]:
    """List what stands in a split of the chain that leads to the target of the run, and of stages without a name of their own.

    Instances with a name count only where the chain reads them: others are trials beside it.

    Args:
        workspace: The workspace.
        split: The split.
        instance: One that counts in any case, and so does what it reads.

    Returns:
        Refs of maps, in the order of the stages, an instance before those that read it.
    """
    config = workspace.config
    targets = [(one, config.split_of(one)) for one in (config.run.get("target"),) if isinstance(one, str) and one]
    chain: dict[str, None] = {}
    for target, of_split in [*targets, *([(instance, split)] if instance else [])]:
        with suppress(LabelsegError):  # a configuration that cannot be resolved takes no picture away
            chain |= dict.fromkeys(node.instance for node in resolve(config, target, of_split))
    chain |= {instance: None} if instance else {}
    stages, named = list(workspace.stages), list(chain)
    there = [
        ref
        for ref in workspace.catalog.refs()
        if ref.split == split
        and ref.stage in stages
        and workspace.stages[ref.stage].kind == "map"
        and (ref.instance in chain or not is_named(ref.instance))
    ]
    return sorted(there, key=lambda ref: (named.index(ref.instance), 0) if ref.instance in chain else (len(named), stages.index(ref.stage)))


def has_say(workspace: Workspace, ref: Ref) -> bool:
    """Whether an artifact says of each image where its classes are."""
    stage = workspace.stages[ref.stage]
    return stage.has_masks or stage.has_scores


def _has_masks(workspace: Workspace, ref: Ref) -> bool:
    """Whether an artifact holds masks, by a stage that is known here."""
    return ref.stage in workspace.stages and workspace.stages[ref.stage].has_masks


def masked_ref(workspace: Workspace, instance: str = "", split: str | None = None) -> Ref:
    """Find the artifact whose masks are weighed: the one named, or the last of the chain that has masks, or else the newest of all.

    Raises:
        UsageError: the instance named makes no masks.
        MissingArtifactError: there are no masks yet.
        ArtifactError: whether there are cannot be seen.
    """
    if instance:
        stage = workspace.stages.get(stage_of(instance)) or workspace.config.stage(instance)
        if stage.kind != "map" or not stage.has_masks:
            able = [s.name for s in workspace.stages.values() if s.has_masks]
            raise UsageError(f"{instance} makes no masks. Name one of: {', '.join(able)}.")
        return find_refs(workspace, Named(instance), split)[0]
    for name in [split] if split else ["train", *workspace.dataset.splits()]:
        masked = [ref for ref in chain_refs(workspace, name) if _has_masks(workspace, ref)]
        if masked:
            return masked[-1]
    workspace.catalog.demand_seen()
    beside = [ref for ref in workspace.catalog.refs() if _has_masks(workspace, ref) and split in (None, ref.split) and not ref.tag]
    if beside:
        return max(beside, key=lambda ref: (ref.created, ref.instance, ref.split))
    where = f" on {split}" if split else ""
    raise MissingArtifactError(f"there are no masks here{where} yet. Run: labelseg run")


def other_refs(workspace: Workspace, ref: Ref) -> list[Ref]:
    """List the other artifacts of the chain in the split of one that have a say, and mean the same classes by their ids."""
    own = recorded_classes(ref.recipe, ref_name(ref), "labelseg run")
    found = []
    for other in chain_refs(workspace, ref.split, ref.instance):
        if other.instance == ref.instance or not has_say(workspace, other):
            continue
        try:
            classes = recorded_classes(other.recipe, ref_name(other), "labelseg run")
        except ArtifactError:
            continue
        if not mixed_ids(own, classes):
            found.append(other)
    return found


def least_trusted(workspace: Workspace, ref: Ref, count: int) -> list[ImageQuality]:
    """List the images of an artifact that are trusted least; nothing where that is not known of what stands now."""
    kept = kept_measured(workspace.folder, ref.instance, ref.split)
    try:
        return kept.worst(count) if kept is not None and not ref.tag and kept.current(ref, other_refs(workspace, ref)) else []
    except ArtifactError:
        return []
