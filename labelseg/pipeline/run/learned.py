"""What a training learned from, where its data changed while it did: its model then stands for no state that the data ever was in."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labelseg.pipeline.engines.unchanged import Unchanged
from labelseg.pipeline.files.digests import canonical_json, digest
from labelseg.pipeline.plan.decisions import Decision, Entry
from labelseg.pipeline.plan.planner import Planner

logger = logging.getLogger(__name__)

MIXED = "changed while it was learned from"
Rows = dict[str, list[tuple[str, str]]]


def as_learned(
    planner: Planner, decision: Decision, entries: Mapping[str, Sequence[Entry]], rows: Rows, truth: Collection[str], retrain: str
) -> tuple[Decision, Rows]:
    """Say what a training learned from: what it was to learn from, unless files changed meanwhile.

    A model of changed files gets a key of its own and records that fit no data: it stands as outdated whatever becomes of the files.

    Args:
        planner: Digests of the data.
        decision: What was to be trained.
        entries: Name of a split parameter -> what it was to learn from.
        rows: The same, as manifests record it.
        truth: Roles that the ground truth of the data plays.
        retrain: The command that trains anew, for a warning.

    Returns:
        The decision with key and inputs, and the rows, that are to be recorded.
    """
    unchanged = Unchanged(planner.data.dataset, planner.data.index, truth)
    changed = {param: ids for param, found in entries.items() if (ids := unchanged.changed(found))}
    if not changed:
        return decision, rows
    first, count = next(iter(changed.values()))[0], len({image_id for ids in changed.values() for image_id in ids})
    logger.warning(
        "%s: %s changed while the model learned, %s the first. It is kept, and stands as outdated. To train anew: %s",
        decision.node.id, f"{count:,} image{'s' * (count > 1)}", first, retrain,
    )  # fmt: skip
    mixed: Rows = {}
    for param, listed in rows.items():
        others = {*changed.get(param, ())}
        mixed[param] = [(image_id, digest(MIXED, row) if image_id in others else row) for image_id, row in listed]
    inputs: dict[str, Any] = dict(decision.inputs or {})
    inputs |= {f"data of {param}": digest(MIXED, inputs[f"data of {param}"], *ids) for param, ids in changed.items()}
    return replace(decision, key=digest(MIXED, str(decision.key), canonical_json(mixed)), inputs=inputs), mixed
