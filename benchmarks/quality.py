"""How well quality without truth ranks masks by their true IoU, beside confidence alone and its other parts.

Run: ``python -m benchmarks.quality --workspace DIR --name NAME`` on a workspace in which the chain has run. The result is written to
``benchmarks/results/quality-NAME.json``. What was measured is kept in the workspace; nothing else in it changes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from benchmarks.recording import labelseg, origin

RESULTS = Path(__file__).parent / "results"
MEASURES = ("quality", "agreement", "kept", "confidence")
BACKGROUND = "background"


def ranked(pairs: list[tuple[dict[str, Any], float]], measure: str) -> float | None:
    """Rank correlation (Spearman) of a measure with the true IoU, over what has both; None where one of them never differs."""
    known = [(values[measure], iou) for values, iou in pairs if values[measure] is not None]
    found = spearmanr(*zip(*known, strict=True)).statistic if len(known) > 2 else float("nan")
    return None if found != found else round(float(found), 4)


def pairs_of(images: list[dict[str, Any]]) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """List what was measured beside the true IoU: of images, and of the classes in them, the background left out."""
    by_class = [
        (parts, image["iou"].get(name, 0.0))
        for image in images
        if image["miou"] is not None
        for name, parts in image["classes"].items()
        if name != BACKGROUND
    ]
    return {"images": [(image, image["miou"]) for image in images if image["miou"] is not None], "classes of images": by_class}


def main() -> None:
    """Measure, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--name", required=True, help="what the result is called")
    parser.add_argument("--note", default="", help="which workspace that is, to write beside the figures")
    parser.add_argument("--stage", default="propagate")
    parser.add_argument("--split", default="train")
    options = parser.parse_args()
    told = labelseg(options.workspace, "quality", options.stage, "--split", options.split, "--json", capture=True)
    images = json.loads(told)["images"]
    found = pairs_of(images)
    result = {
        "name": options.name,
        **origin(f"python -m benchmarks.quality --workspace DIR --name {options.name}"),
        "note": options.note,
        "stage": options.stage,
        "split": options.split,
        "counted": {what: len(pairs) for what, pairs in found.items()},
        "spearman": {what: {measure: ranked(pairs, measure) for measure in MEASURES} for what, pairs in found.items()},
    }
    (RESULTS / f"quality-{options.name}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
