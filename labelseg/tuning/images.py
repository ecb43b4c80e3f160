"""Which images settings are chosen on, and which are held out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.data.grey_masks import demand_class_ids
from labelseg.errors import DataError
from labelseg.results.scores import learned_images
from labelseg.tuning.halves import drawn_sample, halves
from labelseg.wording import counted, some_of

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.protocols import Dataset, Kind
    from labelseg.workspace import Workspace

FEW = 6  # images with masks below which a choice is a matter of chance


@dataclass(frozen=True)
class TuningImages:
    """Images that settings are chosen by.

    Attributes:
        by: ``masks`` or ``tags``.
        chosen_on: Ids whose scores decide.
        held_out: Ids whose scores are only told.
        notes: What a person should know of the choice, a line each.
    """

    by: str
    chosen_on: tuple[str, ...]
    held_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def tuning_images(
    workspace: Workspace,
    split: str,
    read: Sequence[Ref],
    *,
    listed: Sequence[str] | None = None,
    by: str = "",
    most: int = 100,
    seed: int = 0,
) -> TuningImages:
    """Find the images of a split that settings can be chosen by, and hold every second one out.

    Args:
        workspace: The workspace.
        split: The split.
        read: The artifacts that are tuned from: images whose masks these were learned from do not count.
        listed: Take only these of the split; None takes all.
        by: ``masks``, ``tags``, or empty for masks where there are any.
        most: Take at most so many, drawn by chance.
        seed: Of the drawing and the halves.

    Raises:
        DataError: no image of the split has what is needed, or all masks were learned from.
    """
    dataset = workspace.dataset
    wanted = None if listed is None else set(listed)
    asked = [image_id for image_id in dataset.ids(split) if wanted is None or image_id in wanted]
    ids, lacking = _made(workspace, read, asked)
    masked = [image_id for image_id in ids if dataset.has(image_id, "mask")]
    tagged = [image_id for image_id in ids if dataset.has(image_id, "tags")]
    if not (tagged if by == "tags" else masked or (tagged and by != "masks")):
        raise _nothing_known(dataset, split, by)
    if by == "tags" or not masked:
        tags = {image_id: dataset.tags(image_id) or () for image_id in drawn_sample(tagged, most, seed)}
        chosen_on, held_out = halves(tags, seed)
        return TuningImages("tags", tuple(chosen_on), tuple(held_out), tuple(lacking))
    learned = set().union(*(learned_images(workspace, workspace.catalog.named(ref).recipe) for ref in read))
    free = [image_id for image_id in masked if image_id not in learned]
    if not free:
        raise DataError(
            f"tune: the masks of all {counted(len(masked), 'image')} of '{split}' were learned from, so that scores on them say nothing. "
            "Keep some masks apart, in a split of their own: labelseg tune --on SPLIT"
        )
    demand_class_ids(dataset, free)
    notes = [*lacking]
    if len(free) < len(masked):
        notes.append(f"{counted(len(masked) - len(free), 'image')} left out, whose masks were learned from.")
    classes_of, broken = usable_masks(dataset, drawn_sample(free, most, seed))
    if not classes_of:
        raise next(iter(broken.values()))
    if broken:
        notes.append(f"{counted(len(broken), 'image')} left out, whose masks cannot be used: {next(iter(broken.values()))}")
    if len(classes_of) < FEW:
        notes.append(
            f"{counted(len(classes_of), 'mask')} are few: what is best on them may be so by chance. Draw masks for some fifty images, "
            "or at least a dozen."
        )
    chosen_on, held_out = halves(classes_of, seed)
    return TuningImages("masks", tuple(chosen_on), tuple(held_out), tuple(notes))


def _made(workspace: Workspace, read: Sequence[Ref], ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keep the images of which all that is read was made, and tell of what others lack: a file that cannot be read costs that image."""
    kept, told = list(ids), []
    for ref in read:
        if ref.split:
            there = {item.id for item in workspace.catalog.named(ref).items}
            if missing := [image_id for image_id in kept if image_id not in there]:
                told.append(f"{counted(len(missing), 'image')} left out, of which {ref.instance} has nothing: {some_of(missing)}.")
            kept = [image_id for image_id in kept if image_id in there]
    return kept, told


def _nothing_known(dataset: Dataset, split: str, by: str) -> DataError:
    """Say that nothing is known of the images of a split, and where something is."""
    kind: Kind = "tags" if by == "tags" else "mask"
    able = [name for name in dataset.splits() if any(dataset.has(image_id, kind) for image_id in dataset.ids(name))]
    what = {"tags": "tags", "masks": "a mask"}.get(by, "a mask or tags")
    remedy = (
        f"Images of {', '.join(able)} have: labelseg tune --on {shlex.quote(able[0])}"
        if able
        else "Name masks of some: labelseg config data.masks DIR"
    )
    return DataError(f"tune: no image of '{split}' has {what}, and there is nothing to choose settings by. {remedy}")


def usable_masks(dataset: Dataset, ids: Sequence[str]) -> tuple[dict[str, tuple[int, ...]], dict[str, DataError]]:
    """Read the classes in true masks, and list the masks that cannot be used."""
    found, broken = {}, {}
    for image_id in ids:
        try:
            values = np.unique(dataset.mask(image_id)).tolist()
        except DataError as error:
            broken[image_id] = error
        else:
            found[image_id] = tuple(value for value in values if value not in (0, IGNORE))
    return found, broken
