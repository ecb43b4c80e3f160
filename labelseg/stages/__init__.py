"""The stages: the chain from tags, those that import, those for few masks, new classes and new domains, segment, and those that ask people.

Importing them loads no numerical library.
"""

from __future__ import annotations

from labelseg.pipeline.declare.stage import Stage
from labelseg.stages.active import labor_annotate, labor_select, train_selector, train_uda
from labelseg.stages.clicks import ask, correct, override
from labelseg.stages.few_masks import sgc, train_pseudoseg, train_unimatch
from labelseg.stages.imported import import_features, import_network, import_scores
from labelseg.stages.new_classes import wilson, wilson_labels
from labelseg.stages.segmentation import segment, train_segmenter
from labelseg.stages.tags import affinity_labels, cam, features, propagate, refine, train_affinity, train_classifier

STAGES: tuple[Stage, ...] = (
    train_classifier.STAGE,
    cam.STAGE,
    import_network.STAGE,
    import_scores.STAGE,
    refine.STAGE,
    affinity_labels.STAGE,
    train_affinity.STAGE,
    features.STAGE,
    import_features.STAGE,
    propagate.STAGE,
    train_segmenter.STAGE,
    train_pseudoseg.STAGE,
    sgc.STAGE,
    train_unimatch.STAGE,
    wilson.STAGE,
    wilson_labels.STAGE,
    train_uda.STAGE,
    train_selector.STAGE,
    labor_select.STAGE,
    labor_annotate.STAGE,
    segment.STAGE,
    ask.STAGE,
    correct.STAGE,
    override.STAGE,
)
