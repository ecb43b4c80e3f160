"""Settings of published papers for Pascal VOC, as tables that ``labelseg init --preset`` writes."""

from __future__ import annotations

from typing import Any

Tables = dict[str, dict[str, Any]]

# Momentum is the weight decay, as a shifted argument of the published code makes it; the rate is that of the users of ResNet-38.
_RESNET38: dict[str, Any] = {"backbone": "resnet38", "output_stride": 8, "freeze_blocks": 4, "crop": 448, "warmup": 0}
_PSA_STEPS: dict[str, Any] = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.0005, "weight_decay": 0.0005}
PSA: Tables = {
    "train-classifier": {**_RESNET38, **_PSA_STEPS, "long_side": [256, 512], "batch_size": 16, "epochs": 15, "dropout": 0.5},
    "cam": {"scales": [0.5, 1.0, 1.5, 2.0], "flip": True},
    "refine": {"alpha_low": 4.0, "alpha_high": 32.0, "psa_compat": True},
    "train-affinity": {**_RESNET38, **_PSA_STEPS, "resize": [1.0, 1.0], "batch_size": 8, "epochs": 8, "norm": "none", "psa_compat": True},
    "propagate": {"beta": 8.0, "iters": 256, "start": "psa", "alpha": 16.0, "tolerance": 0.0, "psa_compat": True},
    "train-segmenter": {"backbone": "resnet38", "output_stride": 8, "head": "atrous"},
}

# The last level keeps its convolutions undilated. Its classifier trains the affine parameters of BatchNorm, which are fixed here.
_RESNET50: dict[str, Any] = {"backbone": "resnet50", "output_stride": 16, "dilate": False, "crop": 512, "warmup": 0}
_IRN_STEPS: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0001, "weight_decay": 0.0001}
IRN: Tables = {
    "train-classifier": {**_RESNET50, **_IRN_STEPS, "freeze_blocks": 8, "long_side": [320, 640], "batch_size": 16, "epochs": 5},
    "cam": {"scales": [0.5, 1.0, 1.5, 2.0], "flip": True},
    # Thresholds of 0.3 and 0.05 as exponents: m = (1 - m) ** alpha.
    "refine": {"alpha_low": 3.375, "alpha_high": 58.4, "crf_sxy": 50.0, "crf_srgb": 5.0},
    "affinity-labels": {"rule": "irn"},
    "train-affinity": {
        **_RESNET50, **_IRN_STEPS, "kind": "irn", "radius": 10, "freeze_blocks": 17, "head_lr_scale": 1.0, "resize": [0.5, 1.5],
        "batch_size": 32, "epochs": 3,
    },
    "propagate": {"beta": 10.0, "iters": 256, "flip": True, "threshold": 0.25, "tolerance": 0.0},
    "train-segmenter": {"backbone": "resnet50", "output_stride": 16},
}  # fmt: skip
