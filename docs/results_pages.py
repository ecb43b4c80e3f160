"""The part of the results page about what report and view cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results_tables import missing, source, table

SPREAD = ("min", "median", "max")
WHAT = {"list": "the list of its images", "first images": "its first four images", "whole page": "all that is on it"}


def page_parts(folder: Path) -> list[str]:
    """Write what a report and a page of view cost, one line a workspace and kind."""
    views, reports = ([json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}-*.json"))] for name in ("view", "report"))
    return [*_view_parts(views), *_report_parts(reports)]


def _view_parts(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return [missing("python -m benchmarks.pages.view")]
    rows = []
    for result in found:
        images = f"{result['images']:,}"
        rows += [[images, f"seconds to {told}", *_spread(result["seconds"][name], 2)] for name, told in WHAT.items()]
        rows.append([images, "seconds of the processor, in the server", *_spread(result["processor seconds of the server"], 2)])
        rows.append([images, "kB of a page", *(f"{result['bytes of a page'][name] / 1e3:,.0f}" for name in SPREAD)])
    told = "; ".join(
        f"of {r['images']:,} images the server answers {r['seconds until the first page']:.1f} s after the command, holds "
        f"{r['megabytes at the start']:,} MB then, and held {r['megabytes after all pages']:,} MB at most in {r['pages']} pages"
        for r in found
    )
    return [
        f"`labelseg view`: {found[0]['images a page']} generated photos of 500 x 375 pixels a page, each with {_panels(found[0])}, "
        "pages drawn from all orders and places, a third of them among the images of one class. A page is asked for by six connections, "
        f"as a browser does that scrolls to its end at once: {told}.",
        table(["images", "a page", *SPREAD], rows),
        source(found),
    ]


def _report_parts(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return [missing("python -m benchmarks.pages.report --workspace DIR --name NAME")]
    rows = []
    for result in found:
        for kind in ("anew", "again"):
            cells, name = result[kind], f"{result['name']}, {result['images']} images"
            rows += [
                [name, kind, "seconds", *_spread(cells["seconds"], 1)],
                [name, kind, "seconds of the processor", *_spread(cells["cpu seconds"], 1)],
                [name, kind, "MB of the file", *(f"{cells['bytes'][one] / 1e6:.2f}" for one in SPREAD)],
            ]
    return [
        f"`labelseg report`, its start included, {found[0]['runs']} times. *anew*: what is kept of quality is removed before, so that "
        "every mask of the split is measured; *again*: it is kept.",
        table(["workspace", "quality", "what", *SPREAD], rows),
        source(found),
    ]


def _panels(result: Mapping[str, Any]) -> str:
    return f"{len(result['stages'])} panels ({', '.join(result['stages'])})"


def _spread(values: Mapping[str, float], digits: int) -> list[str]:
    return [f"{values[name]:.{digits}f}" for name in SPREAD]
