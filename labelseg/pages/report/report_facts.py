"""What a report tells, as plain data that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StageFacts:
    """What ran, and how.

    Attributes:
        instance, split: The artifact; the split of a model is empty.
        state: As ``status`` tells it.
        why: Why it is not fresh.
        items, failed: How many there are, and how many failed.
        seconds: How long its computation took.
        created, device: When and where that was.
        changed: Parameters that differ from their defaults.
        others: All other parameters.
        metrics: Of a model: name -> number.
    """

    instance: str
    split: str
    state: str
    why: str = ""
    items: int = 0
    failed: int = 0
    seconds: float = 0.0
    created: str = ""
    device: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreFacts:
    """How good the masks of an instance are, in [0, 1]; ``threshold`` is of activation maps, ``tuned`` says that it was chosen here."""

    instance: str
    split: str
    images: int
    miou: float | None
    accuracy: float | None
    iou: Mapping[str, float | None]
    threshold: float | None = None
    tuned: bool = False
    learned: int = 0


@dataclass(frozen=True)
class ThresholdFacts:
    """Mean IoU of activation maps at each threshold; ``chosen`` is the one that the score was counted at."""

    instance: str
    split: str
    thresholds: Sequence[float]
    miou: Sequence[float | None]
    chosen: float


@dataclass(frozen=True)
class ConfusionFacts:
    """Pixels of each true class (row) that each class was given to (column); the last column counts those given to none."""

    instance: str
    split: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class CurveFacts:
    """Curves of a training: name of a number -> points (epoch, value)."""

    instance: str
    curves: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class BalanceFacts:
    """How often a class occurs: images tagged with it, and its share of the pixels in true masks and in those measured; None is unknown."""

    name: str
    tagged: int | None
    true_share: float | None
    mask_share: float | None


@dataclass(frozen=True)
class ReportFacts:
    """All that a report tells.

    Attributes:
        title: Name of the folder.
        made: When the report was made, ISO 8601.
        version: Of labelseg.
        split: Split whose images are shown.
        measured: Instance whose masks quality is told of; empty where there are none.
        images: Number of images in the split.
        classes: Class names by id.
        stages, scores, thresholds, confusion, curves, balance: As above.
        gallery: Images with their pictures, as the script of the gallery takes them.
        panels: Stages that the gallery shows, in order.
        troubles: What cannot be shown, and why.
    """

    title: str
    made: str
    version: str
    split: str
    measured: str
    images: int
    classes: Sequence[str]
    stages: Sequence[StageFacts] = ()
    scores: Sequence[ScoreFacts] = ()
    thresholds: Sequence[ThresholdFacts] = ()
    confusion: ConfusionFacts | None = None
    curves: Sequence[CurveFacts] = ()
    balance: Sequence[BalanceFacts] = ()
    gallery: Sequence[Mapping[str, Any]] = ()
    panels: Sequence[str] = ()
    troubles: Sequence[str] = ()
