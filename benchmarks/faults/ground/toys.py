"""Stages of every kind that take milliseconds: maps, models with and without checkpoints; what each computes shows what it read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from labelseg.errors import DataError
from labelseg.pipeline.declare.stage import Stage, option, source, split_option
from labelseg.pipeline.store.artifacts import Model
from labelseg.stages.active import labor_annotate, labor_select
from labelseg.stages.clicks import ask, correct, override
from labelseg.stages.imported import import_features, import_scores
from labelseg.stages.tags import features

STEP = 50  # grey levels between classes


@dataclass(frozen=True, kw_only=True)
class NetParams:
    """Parameters of ``train-net``."""

    split: str = split_option("train", help="Split to learn from.")
    epochs: int = option(3, help="Rounds.", minimum=1)
    seed: int = option(0, help="Seed.", minimum=0)


class Momentum:
    """Gradient descent with momentum on two numbers, in the form that checkpoints take; torch's own costs seconds to load."""

    def __init__(self) -> None:
        import torch

        self.velocity = torch.zeros(2)

    def state_dict(self) -> dict[str, Any]:
        """The state as torch's optimisers give it."""
        return {"state": {0: {"momentum_buffer": self.velocity}}, "param_groups": []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state up."""
        self.velocity = state["state"][0]["momentum_buffer"]


def train_net(inputs: Any, params: NetParams) -> Model:
    """Fit a line from grey to the number of tags, with a checkpoint after every round."""
    import torch

    from labelseg.training.checkpoints import Checkpoints, Progress

    net = torch.nn.Linear(1, 1)
    greys = torch.tensor([float(item.image().mean()) / 255 for item in inputs.items()])
    truth = torch.tensor([float(item.tags[0]) for item in inputs.items()])
    optimizer = Momentum()
    checkpoints = Checkpoints(inputs.checkpoints, {"epochs": params.epochs, "seed": params.seed})
    with torch.no_grad():
        net.weight.fill_(params.seed + 0.5)
        net.bias.fill_(0.25)
        progress = checkpoints.load({"net": net}, optimizer) or Progress()  # type: ignore[arg-type]
        while progress.iteration < params.epochs:
            error = net.weight[0, 0] * greys + net.bias[0] - truth
            loss = float((error**2).mean())
            optimizer.velocity = 0.9 * optimizer.velocity + torch.stack([(error * greys).mean(), error.mean()])
            net.weight -= 0.1 * optimizer.velocity[0]
            net.bias -= 0.1 * optimizer.velocity[1]
            progress.iteration += 1
            progress.curves.append({"epoch": progress.iteration, "loss": loss})
            if -loss > progress.best_value:
                progress.best_epoch, progress.best_value = progress.iteration, -loss
                progress.best = {name: value.clone() for name, value in net.state_dict().items()}
            inputs.log({"epoch": progress.iteration, "loss": loss})
            checkpoints.save(progress, {"net": net}, optimizer)  # type: ignore[arg-type]
    tensors = {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}
    best = {f"best.{name}": value.numpy().copy() for name, value in (progress.best or {}).items()}
    return Model({**tensors, **best}, {"network": "line", "classes": list(inputs.classes)}, {"last": progress.curves[-1]}, progress.curves)


@dataclass(frozen=True, kw_only=True)
class CamParams:
    """Parameters of ``cam``."""

    model: str = source("train-net", help="Network.", kind="model")
    scales: tuple[float, ...] = option((0.5, 1.0), help="Scales.", minimum=0.01)


def cam(inputs: Any, params: CamParams) -> Any:
    """Score about 0.8 where a tagged class is, about 0.2 elsewhere; the digits behind tell the model and the scales."""
    weight = float(inputs.model("model").tensors["weight"][0, 0]) * 0.05 + sum(params.scales) * 0.001

    def compute(item: Any) -> dict[str, Any]:
        classes = item.image()[..., 0] // STEP
        ids = np.array(item.tags or (), np.int16)
        scores = np.stack([np.where(classes == k, 0.8, 0.2) + weight for k in ids]).astype(np.float16)
        return {"scores": scores, "class_ids": ids, "size": np.array(classes.shape, np.int32)}

    return compute


@dataclass(frozen=True, kw_only=True)
class SpreadParams:
    """Parameters of ``spread``."""

    cam: str = source("cam", help="Maps.", kind="map")
    rows: int = option(0, help="First rows to call background.", minimum=0)
    fail: str = option("", help="Image to fail on.")


def spread(inputs: Any, params: SpreadParams) -> Any:
    """Cut maps at a half, and drop a pixel that the third digit of the first score names."""

    def compute(item: Any) -> dict[str, Any]:
        if item.id == params.fail:
            raise DataError(f"spread for {item.id}: told to fail.")
        maps = item.read("cam")
        mask = np.where(maps["scores"].max(axis=0) > 0.5, maps["class_ids"][maps["scores"].argmax(axis=0)], 0).astype(np.uint8)
        mask[: params.rows] = 0
        mask.reshape(-1)[int(float(maps["scores"].flat[0]) * 1000) % mask.size] = 0
        return {"mask": mask}

    return compute


@dataclass(frozen=True, kw_only=True)
class SegmenterParams:
    """Parameters of ``train-segmenter``."""

    labels: str = source("spread", help="Masks to learn from.", kind="labels")
    split: str = split_option("train", help="Split to learn from.")


def train_segmenter(inputs: Any, params: SegmenterParams) -> Model:
    """Add up masks."""
    total = np.sum([item.read("labels")["mask"] for item in inputs.items()], axis=0)
    return Model(
        {"total": total.astype(np.int64)}, {"network": "sum", "classes": list(inputs.classes)}, {"last": {"sum": int(total.sum())}}
    )


@dataclass(frozen=True, kw_only=True)
class SegmentParams:
    """Parameters of ``segment``."""

    model: str = source("train-segmenter", help="Network.", kind="model")
    shift: int = option(0, help="Grey levels to add.", minimum=0)


def segment(inputs: Any, params: SegmentParams) -> Any:
    """Read classes off colours; the confidence tells the model."""
    total = int(inputs.model("model").tensors["total"].sum()) + params.shift

    def compute(item: Any) -> dict[str, Any]:
        mask = item.image()[..., 0] // STEP
        return {"mask": mask.astype(np.uint8), "confidence": np.full(mask.shape, total % 1000 / 1000, np.float16)}

    return compute


def _net_uses(params: NetParams) -> dict[str, tuple[str, ...]]:
    return {"split": ("image", "tags")}


STAGES = (
    Stage("train-net", 1, "model", NetParams, train_net, _net_uses),
    Stage("cam", 1, "map", CamParams, cam, lambda params: ("image", "tags"), has_scores=True),
    Stage("spread", 1, "map", SpreadParams, spread, lambda params: ("image",), has_masks=True),
    Stage("train-segmenter", 1, "model", SegmenterParams, train_segmenter, lambda params: {"split": ("image",)}),
    Stage("segment", 1, "map", SegmentParams, segment, lambda params: ("image",), has_masks=True),
    ask.STAGE,
    correct.STAGE,
    override.STAGE,
    labor_select.STAGE,
    labor_annotate.STAGE,
    import_scores.STAGE,
    import_features.STAGE,
    features.STAGE,
)
