"""What ``labelseg report`` costs: ``python -m benchmarks.pages.report --workspace DIR --name NAME``.

The result goes to ``results/report-NAME.json``.

*anew*: what is kept of quality is removed before each run, so that every mask of the split is measured. *again*: it is kept.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.pages.spread import spread
from benchmarks.recording import labelseg, origin

RESULTS = Path(__file__).parents[1] / "results"
RUNS = 3


def measure(root: Path, images: int, *, anew: bool) -> dict[str, Any]:
    """Write reports, each by a process of its own; seconds on the wall and of the processor, and bytes."""
    found: dict[str, list[float]] = {"seconds": [], "cpu seconds": [], "bytes": []}
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        for _ in range(RUNS):
            if anew:
                shutil.rmtree(root / ".labelseg" / "quality", ignore_errors=True)
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            command = [sys.executable, "-m", "labelseg", "-C", str(root), "report", "--images", str(images), "-o", str(page)]
            subprocess.run(command, check=True)
            found["seconds"].append(time.perf_counter() - started)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found["cpu seconds"].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            found["bytes"].append(page.stat().st_size)
    return {name: spread(values, 0 if name == "bytes" else 2) for name, values in found.items()}


def main() -> None:
    """Measure, print and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True, help="one in which the chain has run")
    parser.add_argument("--name", required=True, help="what the result is called")
    parser.add_argument("--note", default="", help="which workspace that is, to write beside the figures")
    parser.add_argument("--images", type=int, default=50)
    options = parser.parse_args()
    rows = json.loads(labelseg(options.workspace, "status", "--json", capture=True))
    text = json.dumps(
        {
            "name": options.name,
            **origin(f"python -m benchmarks.pages.report --workspace DIR --name {options.name}"),
            "note": options.note,
            "images": options.images,
            "runs": RUNS,
            "maps": {f"{row['instance']} {row['split']}": row["items"] for row in rows if row.get("split") and row.get("items")},
            "anew": measure(options.workspace, options.images, anew=True),
            "again": measure(options.workspace, options.images, anew=False),
        },
        indent=1,
    )
    print(text)
    (RESULTS / f"report-{options.name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
