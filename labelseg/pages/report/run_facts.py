"""What ran in a workspace: states, parameters and curves, read from plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labelseg.errors import LabelsegError
from labelseg.pages.report.report_facts import CurveFacts, StageFacts
from labelseg.pipeline.declare.values import former_names
from labelseg.pipeline.plan.keys import params_json
from labelseg.pipeline.plan.reasons import reasons_text
from labelseg.results.facts import kept_metrics
from labelseg.results.standing import load_manifest

if TYPE_CHECKING:
    from labelseg.pipeline.declare.stage import Stage
    from labelseg.pipeline.run.status import StatusRow
    from labelseg.workspace import Workspace


def stage_facts(workspace: Workspace, troubles: list[str]) -> tuple[list[StageFacts], list[CurveFacts]]:
    """Tell of everything that ran or is to run, and of the curves of its trainings; what cannot be read is added to the troubles."""
    stages, curves = [], []
    for row in workspace.status():
        try:
            told, curve = _row_facts(workspace, row)
        except LabelsegError as error:
            troubles.append(f"{row.instance}{f' ({row.split})' if row.split else ''}: {error}")
            told, curve = _bare(row), None
        stages.append(told)
        if curve is not None and curve.curves:
            curves.append(curve)
    return stages, curves


def changed_params(stage: Stage, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the recorded parameters of a stage into those that differ from the defaults of today, and the others."""
    today, defaults = former_names(stage), params_json(stage.params())
    named = {today.get(name, name): value for name, value in params.items()}
    changed = {name: value for name, value in named.items() if name not in defaults or defaults[name] != value}
    return changed, {name: value for name, value in named.items() if name not in changed}


def curve_points(curves: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Map each number that a training recorded to its points (epoch, value); what is no finite number is left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for place, record in enumerate(curves, start=1):
        x = record.get("epoch", record.get("iteration", place))
        for name, value in record.items():
            if name not in ("epoch", "iteration") and _is_number(value) and _is_number(x):
                found.setdefault(name, []).append((float(x), float(value)))
    return found


def _row_facts(workspace: Workspace, row: StatusRow) -> tuple[StageFacts, CurveFacts | None]:
    """Tell of a row of the status, with what its manifest records."""
    ref = workspace.ref(row.instance, row.split)
    if ref is None or ref.stage not in workspace.stages:
        return _bare(row), None
    manifest = load_manifest(workspace, ref)
    changed, others = changed_params(workspace.stages[ref.stage], manifest.params)
    metrics = {name: value for name, value in kept_metrics(manifest).items() if _is_number(value)}
    told = StageFacts(
        row.instance, row.split, row.state, reasons_text(row.reasons), row.items, row.failed, row.seconds, row.created,
        manifest.device, changed, others, metrics,
    )  # fmt: skip
    return told, CurveFacts(row.instance, curve_points(manifest.meta.get("curves", [])))


def _bare(row: StatusRow) -> StageFacts:
    """Tell of a row of the status what it tells by itself."""
    return StageFacts(row.instance, row.split, row.state, reasons_text(row.reasons), row.items, row.failed, row.seconds, row.created)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
