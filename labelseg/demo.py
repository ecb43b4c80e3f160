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
    "train-classifier": {**_TRAINING, "validation": "val", "epochs": 35, "batch_size": 16, "long_side": [112, 176], "evaluate_every": 35},
    "cam": {"scales": [1.0, 1.5, 2.0]},
    "refine": {"alpha_low": 3.0, "alpha_high": 12.0, "alpha": 5.0, "sxy": 40.0, "srgb": 8.0},
    "train-affinity": {**_TRAINING, "init": "train-classifier", "epochs": 8, "batch_size": 8, "crop": 192, "scale": [2.0, 2.0]},
    "propagate": {"scales": [2.0], "beta": 6.0, "threshold": 0.6},
    "train-segmenter": {
        **_TRAINING,
        "init": "train-classifier",
        "validation": "val",
        "evaluate_every": 45,
        "epochs": 45,
        "lr": 0.003,
        "batch_size": 8,
        "width": 64,
    },
    "segment": {"scales": [1.0, 1.5], "crf": True},
}


def demo_tables(seed: int) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Make the table of the data, and those of the stages, for one seed of scenes and trainings."""
    trainings = {name: {**table, "seed": seed} if "epochs" in table else dict(table) for name, table in TABLES.items()}
    return {"scenes": {**SCENES, "seed": seed}}, trainings
