"""The part of the results page about large photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from results_tables import missing, source, table

SIZES = (3, 12, 24, 48)  # megapixels


def large_parts(path: Path) -> list[str]:
    """Write what a photo costs, by its megapixels, with and without a working size, and a megapixel of the largest that was measured."""
    if not path.exists():
        return [missing("python -m benchmarks.large.photos")]
    found = json.loads(path.read_text())
    rows = []
    for name, cells in found["cells"].items():
        for title, ending in ((f"{found['long_side']} pixels", ", sized"), ("as the file", "")):
            of_sizes = [cells.get(f"{size} MP{ending}", {}) for size in SIZES]
            if any(of_sizes):
                rows.append(
                    [f"`{name}`", "tiles of the file" if "tile" in name else title, *map(_cell, of_sizes), _per_megapixel(of_sizes)]
                )
    return [
        "What one photo costs on one core: seconds of the processor and the peak of memory above what the process held. Photos are drawn, "
        "JPEG of quality 92; networks are MobileNetV2 of random weights with 21 classes, **one scale and no mirror** (the stages take "
        "several by default, in proportion), the CRF has 3 labels and two exponents. `predict` decodes, segments and writes the mask at "
        "the size of the file. The last column divides by the megapixels of the largest photo of its row. *-*: not measured.",
        table(["what", "worked on at", *(f"{size} MP" for size in SIZES), "a megapixel"], rows),
        source([found]),
    ]


def _cell(cell: dict[str, Any]) -> str:
    """Write seconds and memory, or why there are none."""
    return f"{cell['seconds']:.2f} s, {cell['bytes'] / 1e6:,.0f} MB" if "seconds" in cell else str(cell.get("none", "-"))


def _per_megapixel(cells: list[dict[str, Any]]) -> str:
    """Write seconds and memory of the largest photo, a megapixel."""
    measured = [(size, cell) for size, cell in zip(SIZES, cells, strict=True) if "seconds" in cell]
    if not measured:
        return "-"
    size, cell = measured[-1]
    return f"{cell['seconds'] / size:.3f} s, {cell['bytes'] / 1e6 / size:,.1f} MB"
