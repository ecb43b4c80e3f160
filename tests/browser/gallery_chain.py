"""A workspace of drawn scenes with stages that need no network: maps and masks are made of the true masks, with known faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from labelseg.data.scenes.drawing import write_scenes
from labelseg.pipeline.declare.stage import Stage, option, source
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace
from tests.stages.scene_files import data_table

SCENES = 30


@dataclass(frozen=True, kw_only=True)
class CamParams:
    masks: str = option("", help="Folder of the masks that stand for what a network would see.")


def cam(inputs, params):
    """Score 0.9 in the upper part of each class, 0.3 in the rest of it."""

    def compute(item):
        mask = np.asarray(Image.open(Path(params.masks) / f"{item.id}.png"))
        ids = np.array([k for k in np.unique(mask) if k not in (0, 255)], np.int16)
        upper = np.arange(len(mask))[:, None] < len(mask) // 2
        scores = np.stack([np.where(mask == k, np.where(upper, 0.9, 0.3), 0.0) for k in ids])
        return {"scores": scores.astype(np.float16), "class_ids": ids, "size": np.array(mask.shape, np.int32)}

    return compute


@dataclass(frozen=True, kw_only=True)
class SpreadParams:
    cam: str = source("cam", help="Maps.", kind="map")


def spread(inputs, params):
    """Take every place with a score, the left quarter left out."""

    def compute(item):
        maps = item.read("cam")
        mask = np.where(maps["scores"].max(axis=0) > 0.1, maps["class_ids"][maps["scores"].argmax(axis=0)], 0).astype(np.uint8)
        mask[:, : mask.shape[1] // 4] = 0
        return {"mask": mask}

    return compute


STAGES = (
    Stage("cam", 1, "map", CamParams, cam, lambda params: ("image",), has_scores=True),
    Stage("spread", 1, "map", SpreadParams, spread, lambda params: (), has_masks=True),
)


def make_workspace(root: Path) -> Workspace:
    """Draw scenes and run both stages on them."""
    table = write_scenes(root, train=SCENES, val=1, seed=0)
    text = data_table(table) + f'[cam]\nmasks = "{root / table["masks"]}"\n[run]\ntarget = "spread"\nsplit = "train"\n'
    (root / "labelseg.toml").write_text(text)
    workspace = Workspace(root, stages=STAGES)
    workspace.run("spread", "train", options=RunOptions(workers=0))
    return workspace
