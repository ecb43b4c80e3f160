"""What the chain with a competing background takes beside the one before it: seconds an image of the maps in which they differ.

Run: ``python -m benchmarks.trials.chains --finished WORKSPACE``, a workspace of ``benchmarks.voc_animals --chain competing`` with masks;
what is read of it is copied. The maps are computed for the 50 tuning images, in turn, in one process of one thread; trainings count by
their updates, at the seconds that one took in the workspace. The result is written to ``benchmarks/results/trials_chains.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.few_masks import probed_seconds
from benchmarks.recording import Result, copy_finished, labelseg

READ = ("train-classifier", "cam", "refine", "propagate@one", "refine@two")
READ += ("affinity-labels", "train-affinity", "affinity-labels@two", "train-affinity@two")
IMAGES, TUNED = 1126, 50
# Step -> options of the stage in the chain before, and in the one with a competing background.
MAPS = {
    "cam": (["--kind", "plain"], ["--kind", "mean"]),
    "propagate, first": (
        ["--no-crf", "--affinity", "train-affinity", "--start", "foreground-only", "--scales", "1.25,1.5,1.75"],
        ["--no-crf", "--affinity", "train-affinity", "--start", "foreground-only", "--scales", "1,1.25,1.5"],
    ),
    "propagate": (["--start", "foreground-only", "--scales", "1,1.25,1.5"], ["--start", "background", "--scales", "0.75,1,1.25"]),
}
# Training -> updates in either chain; refine, its second round and the segmenter's masks are alike in both.
UPDATES = {"train-classifier": (420, 420), "train-affinity": (700, 700), "train-affinity@two": (700, 280), "train-segmenter": (1680, 1680)}


def main() -> None:
    """Time both chains and write the seconds down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, required=True, help="workspace of benchmarks.voc_animals; it stays as it is")
    parser.add_argument("--workspace", type=Path, default=Path("runs") / "trials_chains")
    options = parser.parse_args()
    copy_finished(options.workspace, options.finished, READ)
    result = Result("trials_chains", "python -m benchmarks.trials.chains --finished WORKSPACE", 0)
    totals = [0.0, 0.0]
    for step, both in MAPS.items():
        stage = step.partition(",")[0]
        for place, flags in enumerate(both):
            labelseg(options.workspace, stage, "--as", "timed", *flags, "--split", "tune", "--workers", "0", "--force")
            rows = json.loads(labelseg(options.workspace, "status", "--json", capture=True))
            (seconds,) = (row["seconds"] / TUNED for row in rows if (row["instance"], row["split"]) == (f"{stage}@timed", "tune"))
            result.add(f"{step}, seconds an image", ("before", "competing")[place], round(seconds, 3))
            totals[place] += IMAGES * seconds
    for training, updates in UPDATES.items():
        seconds = probed_seconds(options.finished, training)
        result.add(f"{training}, seconds an update", "both", round(seconds, 3))
        totals = [total + seconds * count for total, count in zip(totals, updates, strict=True)]
    result.add("seconds for 1,126 images", "before", round(totals[0]))
    result.add("seconds for 1,126 images", "competing", round(totals[1]))
    print(json.dumps(result.values, indent=1))


if __name__ == "__main__":
    main()
