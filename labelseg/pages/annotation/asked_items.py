"""What an instance asks, as questions, and the masks that it asks about."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from labelseg.answers.questions import Question, list_questions
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.instances import split_words, stage_of
from labelseg.results.exchange.file_size import mask_of_file
from labelseg.results.standing import Named, find_refs, open_ref, ref_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.workspace import Workspace


def asking_stage(workspace: Workspace, instance: str) -> Stage:
    """Find the stage of an instance that asks.

    Raises:
        UsageError: there is no such instance, or it asks nothing.
    """
    stage = workspace.config.stage(instance)
    if not stage.asks:
        able = [name for name in workspace.config.instances() if workspace.stages[stage_of(name)].asks]
        able += [stage.name for stage in workspace.stages.values() if stage.asks and stage.name not in able]
        raise UsageError(f"{instance} asks nothing. Name an instance that does: {', '.join(able)}.")
    return stage


def asking_instances(workspace: Workspace) -> list[str]:
    """List the instances that have asked something."""
    names = dict.fromkeys(ref.instance for ref in workspace.catalog.refs())
    return [name for name in names if (stage := workspace.stages.get(stage_of(name))) is not None and stage.asks]


def asked_in(workspace: Workspace, instance: str, split: str | None) -> Ref:
    """Find what an instance has asked in a split; None takes the only one there is.

    Raises:
        UsageError: the instance asks nothing, or in several splits of which none is named.
        MissingArtifactError: it has asked nothing yet.
    """
    asking_stage(workspace, instance)
    refs = find_refs(workspace, Named(instance), split)
    if len(refs) > 1:
        raise UsageError(
            f"{instance} asks in the splits {', '.join(ref.split for ref in refs)}. Name one: {shlex.join(split_words(refs[0].split))}"
        )
    return refs[0]


def read_questions(workspace: Workspace, ref: Ref) -> list[Question]:
    """Read all that an artifact asks, image by image, by the pixels of the files.

    Raises:
        DataError: its arrays do not hold questions.
    """
    classes, artifact = workspace.dataset.classes, open_ref(workspace, ref)
    asked = []
    for image_id, item in artifact.items():
        points, guesses, regions = item.get("points"), item.get("guesses"), item.get("regions")
        if points is None or guesses is None or points.shape != (len(guesses), 2) or (regions is not None and len(regions) != len(points)):
            raise DataError(f"{ref_name(ref)} for {image_id}: expected points (n, 2) and guesses (n,), got something else.")
        names = [classes[guess] if 0 <= guess < len(classes) else None for guess in guesses.tolist()]
        scaling = workspace.dataset.scaling(image_id) if workspace.dataset.has(image_id, "image") else None
        places = [(y, x) if scaling is None else scaling.to_file(y, x) for y, x in points.tolist()]
        asked.append((image_id, places, names, None if regions is None else regions.tolist()))
    return list_questions(asked)


class AskedMasks:
    """The masks that are asked about, for those who want to see them.

    Args:
        workspace: The workspace.
        ref: What was asked.
    """

    def __init__(self, workspace: Workspace, ref: Ref) -> None:
        self._dataset = workspace.dataset
        self._own = open_ref(workspace, ref)
        self._others = list(_masks_beside(workspace, ref))

    def mask(self, image_id: str) -> NDArray[Any] | None:
        """Read the mask of an image at the size of its file, (H, W) class ids; None where there is none."""
        for artifact in (self._own, *self._others):
            if image_id in artifact and "mask" in (item := artifact[image_id]):
                return mask_of_file(self._dataset, image_id, item)
        return None


def _masks_beside(workspace: Workspace, ref: Ref) -> Iterator[Artifact]:
    """Open what an asking instance reads that has masks of the same split, in the order of its sources."""
    stage = workspace.stages[stage_of(ref.instance)]
    if ref.instance not in workspace.config.instances():
        return
    for source in stage.sources(workspace.config.params(ref.instance)):
        there = workspace.ref(source.instance, ref.split)
        parent = workspace.stages.get(stage_of(source.instance))
        if there is not None and parent is not None and parent.has_masks:
            yield open_ref(workspace, there)
