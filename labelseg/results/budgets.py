"""What answers cost and bring: pixels asked and pixels labelled, by round and by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.pipeline.instances import stage_of

if TYPE_CHECKING:
    from labelseg.workspace import Workspace

STAGE = "labor-annotate"


@dataclass(frozen=True)
class Budget:
    """The budget of an instance after a round.

    Attributes:
        instance, split: What collected the answers.
        grid: Size of the grid that points lie on, such as ``180 x 240``; empty where images have several.
        images: Number of images.
        now: Pixels asked in the last round.
        asked: Pixels asked in all rounds: what was paid.
        labelled: Those of them that got a class: what was brought.
        share: Share of all pixels of the grid that was asked.
        by_class: Class name -> pixels labelled as it.
    """

    instance: str
    split: str
    grid: str
    images: int
    now: int
    asked: int
    labelled: int
    share: float
    by_class: dict[str, int]


def budgets(workspace: Workspace) -> list[Budget]:
    """Compute the budget of every finished collection of answers, in the order of their instances."""
    order = {name: place for place, name in enumerate(workspace.config.instances())}
    refs = [ref for ref in workspace.catalog.refs() if not ref.tag and stage_of(ref.instance) == STAGE and ref.instance in order]
    return [_budget(workspace, ref.instance, ref.split) for ref in sorted(refs, key=lambda ref: (order[ref.instance], ref.split))]


def _budget(workspace: Workspace, instance: str, split: str) -> Budget:
    """Add up the answers of all images."""
    params = workspace.config.params(instance)
    answers = workspace[instance, split]
    ref = workspace.ref(params.asked, split)
    choice = workspace[params.asked, split] if ref is not None else {}
    counts = np.zeros(256, np.int64)
    now = pixels = 0
    grids = set()
    for image_id, arrays in answers.items():
        counts += np.bincount(arrays["point_labels"], minlength=256)
        now += int((arrays["rounds"] == params.round).sum())
        if image_id in choice:
            grid = choice[image_id]["asked"].shape
            grids.add(grid)
            pixels += grid[0] * grid[1]
    asked = int(counts.sum())
    classes = workspace.dataset.classes
    return Budget(
        instance,
        split,
        " x ".join(map(str, next(iter(grids)))) if len(grids) == 1 else "",
        len(answers),
        now,
        asked,
        asked - int(counts[IGNORE]),
        asked / pixels if pixels else 0.0,
        {name: int(counts[k]) for k, name in enumerate(classes)},
    )
