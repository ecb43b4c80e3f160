"""The stages: the chain from tags, then those that learn from few masks, then segment. Importing them loads no numerical library."""

from __future__ import annotations

from labelseg.pipeline.stage import Stage
from labelseg.stages import (
    affinity_labels,
    cam,
    propagate,
    refine,
    segment,
    sgc,
    train_affinity,
    train_classifier,
    train_pseudoseg,
    train_segmenter,
    train_unimatch,
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
    train_pseudoseg.STAGE,
    sgc.STAGE,
    train_unimatch.STAGE,
    wilson.STAGE,
    wilson_labels.STAGE,
    segment.STAGE,
)
