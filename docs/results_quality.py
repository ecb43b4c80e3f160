"""The part of the results page about quality without truth."""

from __future__ import annotations

import json
from pathlib import Path

from results_tables import Result, missing, source, table

MEASURES = ("quality", "agreement", "kept", "confidence")


def quality_parts(folder: Path) -> list[str]:
    """Write how well quality ranks masks by their true IoU, one line a workspace and kind."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("quality-*.json"))]
    if not found:
        return [missing("python -m benchmarks.quality --workspace DIR --name NAME")]
    rows = [
        [result["name"], f"{result['counted'][what]:,} {what}", *("-" if values[m] is None else f"{values[m]:.2f}" for m in MEASURES)]
        for result in found
        for what, values in result["spearman"].items()
    ]
    return [
        "`labelseg quality` tells how far a mask can be trusted where no truth is known ([report.md](report.md#quality)). Here the truth "
        "is known, and the table gives the rank correlation (Spearman) of each measure with the true IoU of the propagated masks: 1 would "
        "put the worst mask first and the best one last. *agreement*, *kept* and *confidence* are the parts of *quality*, joined by their "
        "plain mean, as was decided before any was measured; confidence alone is what one would use without it.",
        f"*quality* ranks better than confidence alone in {_ahead(found, 'quality', 'confidence')}, and *agreement* by itself better than "
        f"*quality* in {_ahead(found, 'agreement', 'quality')}. The mean stays: weights chosen on these very masks would flatter.",
        table(["workspace", "of", *MEASURES], rows),
        source(found),
    ]


def _ahead(found: list[Result], first: str, second: str) -> str:
    """Count the rows in which one measure ranks better than another."""
    pairs = [(values[first], values[second]) for result in found for values in result["spearman"].values()]
    return f"{sum(a is not None and b is not None and a > b for a, b in pairs)} of {len(pairs)} rows"
