"""The part of the results page about what many images will take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results_tables import missing, source, table

COMMAND = "python -m benchmarks.scale.outlook"
PARTS = {"seconds": "s", "bytes": "MB", "files": "files"}


def scale_parts(path: Path) -> list[str]:
    """Write the part.

    Args:
        path: The JSON file.
    """
    found = json.loads(path.read_text()) if path.exists() else {}
    if not found:
        return [missing(COMMAND)]
    checked = [
        [f"{row['images']:,}", *(cell for key in PARTS for cell in (amount(row["told"], key), amount(row["found"], key)))]
        for row in found.get("checked", [])
    ]
    foreseen = [row for case in found.get("foreseen", []) for row in foreseen_rows(case)]
    return [
        "What `labelseg run --dry-run` tells, against what was found: two maps of tiny images that grow from 1,000 to 10,000 and to "
        "100,000, one process. Seconds are on the wall of a machine that others used as well.",
        table(["images added", *(f"{name} {word}" for name in PARTS.values() for word in ("told", "found"))], checked),
        "By the same model, from the chain of photos with 1,126 images of 320 pixels, which ran in one process on a busy core: the maps of "
        "the chain for a million images on 16 processes, and for a hundred million on 1,000. Trainings are not in it: they take what "
        "their updates take.",
        table(["images", "processes", "map", "hours", "GB", "files"], foreseen),
        source([found]),
    ]


def amount(row: Mapping[str, Any], key: str) -> str:
    """Write a sum of seconds, bytes or files."""
    return f"{row[key] / 1e6:,.1f}" if key == "bytes" else f"{row[key]:,.0f}"


def foreseen_rows(case: Mapping[str, Any]) -> list[list[str]]:
    """Write what the maps will take, and all together."""
    rows = [[row["map"], row["seconds"] / 3600, row["bytes"] / 1e9, row["files"]] for row in case["maps"]]
    rows.append(["all", *(sum(row[k] for row in rows) for k in (1, 2, 3))])
    return [[f"{case['images']:,}", f"{case['processes']:,}", name, f"{h:,.1f}", f"{gb:,.1f}", f"{n:,.0f}"] for name, h, gb, n in rows]
