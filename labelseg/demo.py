"""What the demonstration runs: scenes, and parameters that fit networks small enough for a processor."""

from __future__ import annotations

from typing import Any

SCENES = {"train": 200, "val": 60}
TARGET, SPLIT = "segment", "val"
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
    "train-classifier": {**_TRAINING, "validation": "val", "epochs": 25, "batch_size": 16, "long_side": [112, 176]},
    "cam": {"scales": [1.0, 1.5, 2.0], "store": "full"},
    "refine": {"sxy": 20.0},
    "train-affinity": {**_TRAINING, "epochs": 10, "batch_size": 8},
    "propagate": {"scales": [2.0]},
    "train-segmenter": {**_TRAINING, "validation": "val", "epochs": 20, "batch_size": 8, "width": 64},
    "segment": {"scales": [1.0, 1.5]},
}


def demo_tables(seed: int) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Make the table of the data, and those of the stages, for one seed of scenes and trainings."""
    trainings = {name: {**table, "seed": seed} if "epochs" in table else dict(table) for name, table in TABLES.items()}
    return {"scenes": {**SCENES, "seed": seed}}, trainings
