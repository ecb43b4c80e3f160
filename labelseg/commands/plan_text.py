"""The plan of a run as a table: what will be done, why, about how long it takes and what disk."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING

from labelseg.commands.tables import bytes_text, format_table
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.reasons import causes, reasons_text
from labelseg.pipeline.run.report import NodeResult, Report
from labelseg.wording import counted, seconds_text

if TYPE_CHECKING:
    from labelseg.commands.expectations import Space

Seconds = Mapping[tuple[str, str], float]

TRIED = "+ tried on this machine now: an image of a map, three updates of a training. Evaluations, reading and writing come on top."
SCALED = (
    "* not measured here: scaled by images, passes, pixels and workers from photos of 320 pixels with MobileNetV2 on two cores "
    "(docs/running.md). "
    "Other machines and settings differ: add --probe to try, or let the first run measure."
)
SCALED_BY_TRIAL = "* scaled by images, passes, pixels and workers from what was tried (+)."


def plan_text(
    plan: Report,
    known: Mapping[str, float] | None = None,
    scaled: Seconds | None = None,
    space: Mapping[tuple[str, str], Space] | None = None,
    tried: Seconds | None = None,
) -> str:
    """Write what a run will do and why, node by node; how long it will take, by earlier runs here or by scaled figures; and what disk.

    Args:
        plan: What will be done.
        known: As ``paces`` gives it.
        scaled: As ``scaled_seconds`` gives it; such a number is marked, and said to be one.
        space: As ``expected_space`` gives it.
        tried: Instance and split -> seconds, as ``probe`` gives them; what is scaled is scaled by these, then.
    """
    kept = [
        f"{node_name(r)} is kept although outdated: {reasons_text(r.reasons)}. To train it again: --retrain"
        for r in plan.results
        if r.action == "outdated-kept"
    ]
    if not plan.work:
        return "\n".join([*kept, f"{node_name(plan.results[-1])} is fresh: nothing to do."])
    whys = causes((result.instance, result.reasons) for result in plan.work)
    rows = [(node_name(result), _intention(result), why) for result, why in zip(plan.work, whys, strict=True)]
    tried = tried or {}
    scaled = calibrated(scaled or {}, tried)
    times = [_about(result, known or {}, scaled, tried) for result in plan.work]
    disk = [_on_disk((space or {}).get((result.instance, result.split))) for result in plan.work]
    about = [", ".join(filter(None, both)) for both in zip(times, disk, strict=True)]
    if not any(about):
        return "\n".join([format_table(("TO DO", "WORK", "WHY"), rows), *kept])
    timed = [(name, work, text or "-", why) for (name, work, why), text in zip(rows, about, strict=True)]
    notes = [TRIED] if any(text.endswith("+") for text in times) else []
    if any(text.endswith("*") for text in times):
        notes.append(SCALED_BY_TRIAL if scaled.keys() & tried.keys() else SCALED)
    return "\n".join([format_table(("TO DO", "WORK", "ABOUT", "WHY"), timed), *notes, *kept])


def calibrated(scaled: Seconds, tried: Seconds) -> dict[tuple[str, str], float]:
    """Scale figures measured elsewhere by what was tried here, by the median of the ratios.

    Args:
        scaled: Instance and split -> seconds by figures.
        tried: Instance and split -> seconds by trial.
    """
    ratios = [tried[place] / scaled[place] for place in tried.keys() & scaled.keys() if scaled[place]]
    factor = median(ratios) if ratios else 1.0
    return {place: factor * seconds for place, seconds in scaled.items()}


def _about(result: NodeResult, known: Mapping[str, float], scaled: Seconds, tried: Seconds) -> str:
    """Write how long work on a node will take, with a sign where that was not measured by a run here; empty where nobody knows."""
    if seconds := tried.get((result.instance, result.split), 0.0):
        return f"{seconds_text(seconds)}+"
    if measured := _expected_seconds(result, known):
        return seconds_text(measured)
    guess = scaled.get((result.instance, result.split), 0.0) if result.action in ("computed", "trained") else 0.0
    return f"{seconds_text(guess)}*" if guess else ""


def _on_disk(space: Space | None) -> str:
    """Write what work on a node will put on disk; empty where nobody knows."""
    return "" if space is None else f"{bytes_text(space.bytes)} in {counted(space.files, 'file')}"


def _expected_seconds(result: NodeResult, known: Mapping[str, float]) -> float:
    """Tell how long work on a node will take; 0 where nobody knows or nothing is computed."""
    pace = known.get(result.instance, known.get(stage_of(result.instance), 0.0))
    if result.action == "computed":
        return pace * (result.total if result.computed is None else result.computed)
    return pace if result.action == "trained" else 0.0


def _intention(result: NodeResult) -> str:
    """Say in a few words what will be done."""
    if result.action == "computed" and result.computed is not None:
        return f"{result.computed:,} of {counted(result.total, 'image')}"
    if result.action == "computed":
        return f"up to {counted(result.total, 'image')}"
    if result.action == "trained" and is_imported(result.instance):
        return "import"
    return {"trained": "train", "reused": "reuse an earlier result", "skipped": "skip"}.get(result.action, result.action)


def is_imported(instance: str) -> bool:
    """Whether a model comes from elsewhere; stages that take something in are named so."""
    return stage_of(instance).startswith("import-")


def done_word(action: str, instance: str) -> str:
    """Say in a word what was done for a node: what made a model may have trained it, or taken it in."""
    return "imported" if action == "trained" and is_imported(instance) else action


def node_name(result: NodeResult) -> str:
    """Name a node: ``cam (train)``."""
    return f"{result.instance} ({result.split})" if result.split else result.instance
