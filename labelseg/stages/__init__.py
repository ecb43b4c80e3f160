"""The stages, in the order of the main chain. Importing them loads no numerical library."""

from __future__ import annotations

from labelseg.pipeline.stage import Stage
from labelseg.stages import (
    affinity_labels,
    cam,
    propagate,
    refine,
    segment,
    train_affinity,
    train_classifier,
    train_segmenter,
    wilson,
    wilson_labels,
)

STAGES: tuple[Stage, ...] = (
    train_classifier.STAGE,
    cam.STAGE,
    refine.STAGE,
    affinity_labels.STAGE,
    train_affinity.STAGE,
    propagate.STAGE,
    train_segmenter.STAGE,
    wilson.STAGE,
    wilson_labels.STAGE,
    segment.STAGE,
)
