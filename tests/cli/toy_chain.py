"""Stages without networks: the colour of a pixel tells its class, so every result can be worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelseg.errors import DataError
from labelseg.pipeline.declare.stage import Stage, file_option, option, source, split_option
from labelseg.pipeline.store.artifacts import Model

STEP = 50  # grey levels between classes


@dataclass(frozen=True, kw_only=True)
class NetParams:
    split: str = split_option("train", help="Split.")
    validation: str = split_option("", help="Split to evaluate on.")
    weights: str = file_option("none", help="Initial weights.")
    epochs: int = option(2, help="Rounds.", minimum=1)
    seed: int = option(0, help="Seed.", minimum=0)


def train_net(inputs, params) -> Model:
    """Learn nothing."""
    curves = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5, "mAP": 0.75 if params.epochs == 2 else params.epochs / 100}]
    return Model({"w": np.array([params.epochs], np.int64)}, {"network": "toy"}, {"last": curves[-1]}, curves)


@dataclass(frozen=True, kw_only=True)
class CamParams:
    model: str = source("train-net", help="Network.", kind="model")
    scales: tuple[float, ...] = option((0.5, 1.0), help="Scales.", minimum=0.01)
    flip: bool = option(True, help="Mirror.")
    rule: str = option("psa", help="Rule.", choices=("psa", "irn"))
    fail: str = option("", help="Image to fail on.")


def cam(inputs, params):
    """Score 0.8 where a tagged class is, 0.2 elsewhere."""

    def compute(item):
        if item.id == params.fail:
            raise DataError(f"cam for {item.id}: told to fail.")
        classes = item.image()[..., 0] // STEP
        ids = np.array(item.tags or (), np.int16)
        scores = np.stack([np.where(classes == k, 0.8, 0.2) for k in ids]).astype(np.float16)
        return {"scores": scores, "class_ids": ids, "size": np.array(classes.shape, np.int32)}

    return compute


@dataclass(frozen=True, kw_only=True)
class SpreadParams:
    cam: str = source("cam", help="Maps.", kind="map")
    rows: int = option(0, help="First rows to call background.", minimum=0)


def spread(inputs, params):
    """Cut maps at a half."""

    def compute(item):
        maps = item.read("cam")
        mask = np.where(maps["scores"].max(axis=0) > 0.5, maps["class_ids"][maps["scores"].argmax(axis=0)], 0).astype(np.uint8)
        mask[: params.rows] = 0
        return {"mask": mask}

    return compute


@dataclass(frozen=True, kw_only=True)
class SegmentParams:
    model: str = source("train-net", help="Network.", kind="model")
    scales: tuple[float, ...] = option((1.0,), help="Scales.", minimum=0.01)


def segment(inputs, params):
    """Read classes off colours."""
    inputs.model("model")

    def compute(item):
        mask = item.image()[..., 0] // STEP
        return {"mask": mask.astype(np.uint8), "confidence": np.full(mask.shape, 0.5, np.float16)}

    return compute


def _net_uses(params):
    return {"split": ("image", "tags"), "validation": ("image", "tags")}


STAGES = (
    Stage("train-net", 1, "model", NetParams, train_net, _net_uses),
    Stage("cam", 1, "map", CamParams, cam, lambda params: ("image", "tags"), has_scores=True),
    Stage("spread", 1, "map", SpreadParams, spread, lambda params: ("image",), has_masks=True),
    Stage("segment", 1, "map", SegmentParams, segment, lambda params: ("image",), has_masks=True),
)
