"""What the demonstration runs: scenes, and parameters that fit networks small enough for a processor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCENES = {"train": 200, "val": 60}
LABELLED = 40
FEW, MANY = "few", "many"
_TRAINING: dict[str, Any] = {
    "backbone": "tiny",
    "weights": "none",
    "output_stride": 8,
    "freeze_batchnorm": False,
    "optimizer": "adam",
    "lr": 0.002,
    "head_lr_scale": 1.0,
    "crop": 128,
    "precision": "32-true",
}
TABLES: dict[str, dict[str, Any]] = {
    "train-classifier": {**_TRAINING, "validation": "val", "epochs": 35, "batch_size": 16, "long_side": [112, 176], "evaluate_every": 35},
    "cam": {"scales": [1.0, 1.5, 2.0]},
    "refine": {"alpha_low": 3.0, "alpha_high": 12.0, "alpha": 5.0, "crf_sxy": 40.0, "crf_srgb": 8.0},
    "train-affinity": {**_TRAINING, "init": "train-classifier", "epochs": 7, "batch_size": 8, "crop": 192, "resize": [2.0, 2.0]},
    "propagate": {"scales": [2.0], "beta": 6.0, "threshold": 0.6, "crf": True},
    "train-segmenter": {
        **_TRAINING,
        "init": "train-classifier",
        "validation": "val",
        "evaluate_every": 50,
        "epochs": 50,
        "lr": 0.0015,
        "crop": 96,
        "batch_size": 8,
        "width": 64,
    },
    "segment": {"scales": [1.0, 1.5], "crf": True},
}


# From few masks: a segmenter of these alone, then both methods from where it ends.
_FEW: dict[str, Any] = {**_TRAINING, "split": FEW, "lr": 0.002, "batch_size": 8, "width": 64}
_MANY: dict[str, Any] = {**_FEW, "unlabelled": MANY, "init": "train-segmenter", "validation": "val", "evaluate_every": 100}
FEW_MASK_TABLES: dict[str, dict[str, Any]] = {
    "train-segmenter": {**_FEW, "labels": "masks", "epochs": 80},
    "train-unimatch": {**_MANY, "iterations": 180, "threshold": 0.8, "resize": [0.75, 1.5]},
    "train-pseudoseg": {**_MANY, "iterations": 180, "factors": [0.75, 1.0, 1.25, 1.5], "cutout": 16, "key_width": 64},
    "segment": {"scales": [1.0], "flip": False, "model": "train-unimatch"},
    "segment.supervised": {"model": "train-segmenter"},
}


@dataclass(frozen=True)
class Demo:
    """A demonstration.

    Attributes:
        tables: Table of ``labelseg.toml`` -> values that differ from the defaults.
        targets: What is run and scored on unseen scenes, in order; the first is that of ``labelseg run``.
        labelled: Scenes of the training split that keep their masks; the others are the split ``many``. 0 makes no lists.
    """

    tables: dict[str, dict[str, Any]]
    targets: tuple[str, ...]
    labelled: int = 0
    scenes: dict[str, int] = field(default_factory=lambda: dict(SCENES))

    def seeded(self, seed: int) -> dict[str, dict[str, Any]]:
        """Give every training the seed."""
        return {name: {**table, "seed": seed} if name.startswith("train-") else dict(table) for name, table in self.tables.items()}

    def data(self, seed: int) -> dict[str, Any]:
        """Make the table ``[data]``."""
        lists = {"splits": "splits"} if self.labelled else {}
        return {"scenes": {**self.scenes, "seed": seed}, **lists}


TAGS = Demo(TABLES, ("segment",))
FEW_MASKS = Demo(FEW_MASK_TABLES, ("segment", "segment@supervised", "sgc"), LABELLED)
