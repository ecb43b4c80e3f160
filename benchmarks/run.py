"""Run the benchmarks: ``python -m benchmarks.run [--quick] [NAME ...]``; a table on the terminal, JSON under ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

from benchmarks.recording import origin

RESULTS = Path(__file__).parent / "results"
TRAININGS = ("loop", "update")
BENCHMARKS = ("walk", "crf", "cam", "propagate", *TRAININGS, "store", "reruns", "growth", "pamr", "refine_stage", "busy_stages")


def main() -> None:
    """Run what was asked for and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="benchmarks to run; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; the results are printed, not written")
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        place = f"trainings.{name}" if name in TRAININGS else name
        rows = import_module(f"benchmarks.speed.{place}").run(options.quick)
        for row in rows:
            versus = f"{row['ratio']:8.1f} x {row['opponent']} ({row['opponent_s']:.3f} s)" if "ratio" in row else ""
            print(f"{row['name']:60s} {row['ours_s']:9.4f} s {versus}")
        if not options.quick:
            record = {**origin(f"python -m benchmarks.run {name}"), "rows": rows}
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
