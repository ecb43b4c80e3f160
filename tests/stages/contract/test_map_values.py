"""What map stages write is, for each of their parameters, what a direct composition of the functions they are made of gives."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from labelseg.ops.crf import dense_crf
from labelseg.stages import STAGES
from tests.stages.contract import by_hand

STAGE = {stage.name: stage for stage in STAGES}
CRF = {"crf": True, "crf_iters": 3}
PSA_WALK = {"start": "psa"}
GUARDED = {"guard_masks": "refine@first", "guard_factor": 0.0, "guard_margin": 0.0}

# Stage -> composition, networks by role, parameters to start from, and changes of them, each of which changes what is written.
COMPOSED = {
    "cam": SimpleNamespace(
        expected=by_hand.cam,
        models={"model": "classifier"},
        base={"scales": (1.0, 1.5)},
        changes=[
            {"scales": (1.0, 2.0)},
            {"flip": False},
            {"tags": "predicted"},
            {"tags": "predicted", "tag_threshold": 0.93},
            {"store": "full"},
            {"precision": "bf16-mixed"},
            {"kind": "prototype"},
            {"kind": "mean"},
            {"kind": "prototype", "flip": False},
            {"kind": "prototype", "prototype_scale": 1.0},
            {"kind": "prototype", "prototype_top": 0.02},
            {"kind": "prototype", "prototype_bottom": 1.0},
            {"kind": "mean", "prototype_temperature": 1.0},
        ],
    ),
    "refine": SimpleNamespace(
        expected=by_hand.refine,
        models={},
        base={"crf_iters": 3},
        changes=[
            {"alpha_low": 1.0},
            {"alpha_high": 8.0},
            {"alpha": 1.0},
            {"crf_iters": 1},
            {"crf_sxy": 5.0},
            {"crf_srgb": 60.0},
            {"crf_weight": 1.0},
            {"crf_smooth_sxy": 12.0},
            {"crf_smooth_weight": 20.0},
            {"crf_backend": "pydensecrf"},
            {"crf_iters": 4, "crf_weight": 1.0, "crf_smooth_weight": 1.0, "crf_tolerance": 0.1},
            {"psa_compat": True},
        ],
    ),
    "affinity-labels": SimpleNamespace(
        expected=by_hand.affinity_labels,
        models={},
        base={},
        changes=[{"rule": "irn"}, {**GUARDED}, {**GUARDED, "guard_factor": 0.5, "guard_margin": 0.0}],
    ),
    "propagate": SimpleNamespace(
        expected=by_hand.propagate,
        models={"affinity": "affinity-net"},
        base={"iters": 6, "radius": 3, "beta": 2.0},
        changes=[
            {"affinity_kind": "colour"},
            {"affinity_kind": "colour", "colour_range": 200.0},
            {"affinity_kind": "constant"},
            {"affinity_kind": "features"},
            {"affinity_kind": "features", "beta": 8.0},
            {"affinity_kind": "features", "start": "psa"},
            {"affinity_kind": "features", "psa_compat": True},
            {"beta": 8.0},
            {"iters": 2},
            {"radius": 2},
            {"scales": (1.0, 1.5)},
            {"flip": True},
            {**PSA_WALK},
            {**PSA_WALK, "alpha": 1.0},
            {"threshold": 0.95},
            {"tolerance": 0.1},
            {**CRF},
            {**CRF, "crf_unary": "scores"},
            {**CRF, "crf_unary": "scores", "crf_iters": 1},
            {**CRF, "crf_iters": 1},
            {**CRF, "crf_sxy": 4.0},
            {**CRF, "crf_srgb": 60.0},
            {**CRF, "crf_weight": 40.0},
            {**CRF, "crf_backend": "pydensecrf"},
            {"precision": "bf16-mixed"},
            {"psa_compat": True},
            {**PSA_WALK, "psa_compat": True, **CRF},
            {"start": "background"},
            {"start": "background", "background_weight": 0.8, **CRF},
            {"guard": "refined"},
            {"guard": "refined", "guard_factor": 4.0},
            {"guard": "competitor"},
            {"guard": "competitor", "guard_margin": 0.4},
            {"guard": "competitor", "scales": (1.0, 1.5), **CRF},
            {**PSA_WALK, "guard_factor": 0.5, "guard_margin": 0.0, "guard": "refined"},
        ],
    ),
    "features": SimpleNamespace(
        expected=by_hand.features,
        models={"model": "segmenter"},
        base={"backbone": "tiny", "weights": "none"},
        changes=[
            {"model": "train-segmenter"},
            {"backbone": "resnet18"},
            {"output_stride": 8},
            {"levels": (4,)},
            {"levels": (1, 4)},
            {"stride": 7},
            {"stride": 16},
            {"centre": True},
            {"model": "train-segmenter", "centre": True, "levels": (2,)},
            {"precision": "bf16-mixed"},
        ],
    ),
    "segment": SimpleNamespace(
        expected=by_hand.segment,
        models={"model": "segmenter", "classes": "classifier"},
        base={"scales": (1.0,)},
        changes=[
            {"scales": (1.0, 1.5)},
            {"classes": "train-classifier"},
            {"classes": "train-classifier", **CRF},
            {"classes": "train-classifier", "tags": "given"},
            {"flip": False},
            {**CRF},
            {**CRF, "crf_iters": 1},
            {**CRF, "crf_sxy": 4.0},
            {**CRF, "crf_srgb": 60.0},
            {**CRF, "crf_weight": 40.0},
            {**CRF, "crf_backend": "pydensecrf"},
            {"precision": "bf16-mixed"},
        ],
    ),
    "sgc": SimpleNamespace(
        expected=by_hand.sgc,
        models={"model": "pseudoseg"},
        base={},
        changes=[
            {"gamma": 0.1},
            {"temperature": 1.0},
            {"normalize": False},
            {"norm_scope": "pixel"},
            {"threshold": 0.9},
            {"tags": "given"},
            {"tag_threshold": 0.75},
            {"precision": "bf16-mixed"},
        ],
    ),
    "ask": SimpleNamespace(
        expected=by_hand.ask,
        models={},
        base={"budget": 4},
        changes=[
            {"budget": 7},
            {"of": "segment"},
            {"of": "segment", "share": 0.9},
            {"choose": "random"},
            {"choose": "random", "seed": 1},
        ],
    ),
    "correct": SimpleNamespace(
        expected=by_hand.correct,
        models={},
        base={},
        changes=[{"of": ""}, {"reach": 0.0}, {"reach": 8.0}, {"colour": 0.0}],
    ),
}
TILES = ("tile", "overlap")  # of images larger than these: test_segment_tiles
CHANGES = [pytest.param(name, change, id=f"{name}-{change}") for name, case in COMPOSED.items() for change in [{}, *case.changes]]
ELSEWHERE = {
    "import-features": "compared with the files in imported/test_arrays",
    "import-scores": "compared with the files in imported/test_arrays",
    "features": "weights are read in test_feature_walk",
    "wilson-labels": "compared with the targets of a training in test_wilson",
    "labor-select": "compared with what the selector disagrees on in active/test_rounds",
    "labor-annotate": "compared with true masks in active/test_rounds",
}


def item():
    return by_hand.HandItem(
        "one",
        by_hand.picture(),
        (2, 4),
        {"cam": by_hand.maps(), "refine": by_hand.refined(), "features": by_hand.place_features(), **by_hand.masks()},
        by_hand.ANSWERS,
    )


def written(name, params, **models):
    """What the stage gives for the item."""
    return STAGE[name].run(by_hand.inputs(**{**COMPOSED[name].models, **models}), params)(item())


@cache
def composed(name, params):
    """What the composition gives for the item."""
    return COMPOSED[name].expected(item(), params)


@pytest.fixture(autouse=True, scope="module")
def other_backend():
    """Let the other implementation of the CRF, an extra, give what the first would never give: it would be the same but for rounding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_crf, "_pydensecrf", lambda image, energy, inference: energy / energy.sum(axis=0))
        yield


def differences(one, other):
    """Name of array -> the largest difference of scores, or the share of unequal cells of whole numbers; 1 for other shapes."""
    assert one.keys() == other.keys()
    return {name: _difference(np.asarray(one[name]), np.asarray(other[name])) for name in one}


def _difference(one, other):
    if one.shape != other.shape:
        return 1.0
    apart = np.abs(one.astype(np.float64) - other)
    return float((apart != 0).mean() if one.dtype.kind in "iu" else apart.max(initial=0))


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_what_is_written_is_what_the_composition_gives(name, change):
    params = STAGE[name].params(**{**COMPOSED[name].base, **change})
    found = differences(written(name, params), composed(name, params))
    assert max(found.values()) < 1e-3, found  # the rounding of float16


@pytest.mark.parametrize(("name", "change"), [param for param in CHANGES if param.values[1]])
def test_every_change_of_a_parameter_shows_in_the_composition(name, change):
    base, last = COMPOSED[name].base, list(change)[-1]
    before = base | {other: value for other, value in change.items() if other != last}
    wholes = [composed(name, STAGE[name].params(**some)) for some in (base | change, before)]
    assert max(differences(*wholes).values()) > 2e-3


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.kind == "map"], ids=lambda stage: stage.name)
def test_every_parameter_of_a_map_is_changed_in_some_composition(stage):
    case = COMPOSED.get(stage.name)
    changed = {name for change in case.changes for name in change} if case else set()
    sources = {field.name for field in fields(stage.params) if "source" in field.metadata}
    missing = {field.name for field in fields(stage.params)} - changed - sources - {"partial", *TILES}
    assert not missing or stage.name in ELSEWHERE


def test_untagged_images_alone_get_predicted_classes_mapped():
    untagged = by_hand.HandItem("two", by_hand.picture(), None)
    run = STAGE["cam"].run(by_hand.inputs(model="classifier"), STAGE["cam"].params(tags="given-or-predicted", scales=(1.0,)))
    predicted = STAGE["cam"].params(tags="predicted", scales=(1.0,))
    assert max(differences(run(untagged), by_hand.cam(untagged, predicted)).values()) < 1e-3
    assert max(differences(run(item()), by_hand.cam(item(), STAGE["cam"].params(scales=(1.0,)))).values()) < 1e-3
