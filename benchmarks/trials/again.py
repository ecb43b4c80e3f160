"""A round of self-training: does a segmenter get better by learning the masks that it makes of its own training images, tags given?

Run: ``python -m benchmarks.trials.again --finished WORKSPACE``, a workspace that ``benchmarks.voc_animals --chain competing`` went
through. Instances are added to it. Two trainings go on from its segmenter for as many updates at one rate: from the masks that it
learned before (the control), and from ``segment@own``, where the walk's masks say the same. Both are scored on ``val`` and, over
their training images with tags given, on ``train_fine`` and the tuning masks. Interrupted and run again, it goes on where it stopped. The
result is written to ``benchmarks/results/trials_again-seed<seed>.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.recording import Result, labelseg

GOES_ON = ("--init", "train-segmenter", "--take", "network", "--epochs", "4", "--lr", "0.002", "--only")
WAYS = {
    "as before": ("longer", ("--labels", "propagate")),
    "own masks": ("again", ("--labels", "segment@own")),
    "own masks, where the walk agrees": ("agreed", ("--labels", "segment@own", "--beside", "propagate")),
}


def main() -> None:
    """Train, segment, score, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, required=True, help="workspace of benchmarks.voc_animals, with segment and segment@own")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=tuple(WAYS), metavar="WAY", help=f"of: {'; '.join(WAYS)}")
    options = parser.parse_args()
    settings = (options.finished / "labelseg.toml").read_text()
    seed = int(settings.split("[train-segmenter]")[1].split("seed = ")[1].split()[0])
    result = Result(f"trials_again-seed{seed}", "python -m benchmarks.trials.again --finished WORKSPACE", seed, options=" ".join(GOES_ON))
    result.score(options.finished, "before", "segment", "val")
    for listed in ("tune", "train_fine"):
        result.score(options.finished, "before: training images", "segment@own", "train", listed)
    for way in options.ways:
        name, labels = WAYS[way]
        labelseg(options.finished, "train-segmenter", "--as", name, *labels, *GOES_ON)
        model = f"train-segmenter@{name}"
        labelseg(options.finished, "segment", "--as", name, "--model", model, "--only", "--split", "val")
        result.score(options.finished, way, f"segment@{name}", "val")
        labelseg(options.finished, "segment", "--as", f"own-{name}", "--model", model, "--tags", "given", "--only", "--split", "train")
        for listed in ("tune", "train_fine"):
            result.score(options.finished, f"{way}: training images", f"segment@own-{name}", "train", listed)
    result.stages(options.finished)


if __name__ == "__main__":
    main()
