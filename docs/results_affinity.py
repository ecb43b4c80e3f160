"""The part of the results page about kinds of affinity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results_tables import Result, heads, miou_table, missing, names, plain, seeds, source, table

NAME = "affinity_kinds"
COMMAND = "python -m benchmarks.affinity.kinds --finished runs/voc_animals_competing-seed0"


def affinity_parts(folder: Path) -> list[str]:
    """Write the part.

    Args:
        folder: Where the JSON files lie.
    """
    found = seeds(folder, NAME)
    if not found:
        return [missing(COMMAND)]
    return [
        "All kinds walk from the same class activation maps over one scale, without mirror, guard or CRF. Exponent, or steps where there "
        "is nothing to raise to a power, and threshold are for each kind those of one grid with the best mIoU on the tuning masks. The "
        "network of kind irn has as many updates as that of kind psa; its backbone stays as it is, as published.",
        miou_table(found),
        "What was chosen on the tuning masks; of features, the setting with the best mIoU there is the one that is walked over.",
        table(["", *(f"{head}: exponent, steps, threshold, mIoU" for head in heads(found))], chosen_rows(found)),
        source(found),
    ]


def chosen_rows(found: Sequence[Result]) -> list[list[str]]:
    """Write what each seed chose."""
    rows = []
    for name in names(found, "chosen"):
        cells = []
        for result in found:
            one = result.get("chosen", {}).get(name)
            cells.append("-" if one is None else chosen_cell(one))
        rows.append([name, *cells])
    return rows


def chosen_cell(one: Mapping[str, Any]) -> str:
    """Write one choice."""
    return f"{plain(one['beta'])}, {one['iters']}, {plain(one['threshold'])}, {100 * one['miou']:.1f}"
