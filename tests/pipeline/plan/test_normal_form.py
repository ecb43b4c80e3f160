"""Recipes of an earlier declaration amount to what they would be today."""

from __future__ import annotations

from labelseg.pipeline.plan.normal_form import normal_form, same_params
from labelseg.pipeline.plan.reasons import stale_reasons
from labelseg.stages import STAGES

BY_NAME = {stage.name: stage for stage in STAGES}
STEP_0 = {
    "stage": "wilson",
    "version": 1,
    "params": {"step": 0, "epochs": 0, "lr": 0.0, "head_lr_scale": 0.0, "new": ["cat"], "backbone": "tiny", "protocol": "full"},
    "classes": ["background", "cat"],
    "splits": {"split": "train"},
    "sources": {"labels": {"instance": "masks", "recipe": None}},
}
ADOPTED = {**STEP_0, "sources": {"adopt": {"instance": "train-segmenter", "recipe": None}, "labels": {"instance": "masks", "recipe": None}}}
STEP_1 = {
    **STEP_0,
    "params": {"step": 1, "epochs": 0, "lr": 0.5, "head_lr_scale": 0.0, "background_mix": -0.2, "new": ["cat"]},
    "sources": {"previous": {"instance": "wilson@0", "recipe": STEP_0}},
}


def test_what_stands_for_a_value_is_that_of_its_step():
    assert normal_form(STEP_0, BY_NAME)["params"] == {
        "step": 0, "epochs": 30, "lr": 0.01, "head_lr_scale": 1.0, "new": ["cat"], "backbone": "tiny",
    }  # fmt: skip
    assert normal_form(STEP_1, BY_NAME)["params"] == {
        "step": 1, "epochs": 40, "lr": 0.5, "head_lr_scale": 10.0, "background_mix": -1.0, "new": ["cat"],
    }  # fmt: skip


def test_splits_and_sources_that_are_not_read_are_left_out():
    form = normal_form(ADOPTED, BY_NAME)
    assert (form["params"], form["splits"], list(form["sources"])) == ({"step": 0, "new": ["cat"]}, {}, ["adopt"])


def test_what_is_read_is_brought_to_todays_form_too():
    today = {**STEP_1, "sources": {"previous": {"instance": "wilson@0", "recipe": normal_form(STEP_0, BY_NAME)}}}
    assert stale_reasons(today, STEP_1)
    assert stale_reasons(normal_form(today, BY_NAME), normal_form(STEP_1, BY_NAME)) == []


def test_a_form_that_is_todays_stays():
    once = normal_form({"stage": "cam", "version": 1, "params": {"scales": [1.0], "flip": True}, "sources": {}}, BY_NAME)
    assert normal_form(once, BY_NAME) == once


def test_what_no_stage_declares_shows_as_a_difference():
    gone = {**STEP_0, "params": {**STEP_0["params"], "long_gone": 3}}
    assert normal_form(gone, BY_NAME)["params"]["long_gone"] == 3
    assert not same_params(STEP_0, gone, BY_NAME)
    assert normal_form({**STEP_0, "stage": "gone"}, BY_NAME) == {**STEP_0, "stage": "gone"}


def test_parameters_amount_to_the_same_within_one_version():
    resolved = {**STEP_0, "params": {**STEP_0["params"], "epochs": 30}}
    assert same_params(resolved, STEP_0, BY_NAME)
    assert not same_params({**resolved, "params": {**resolved["params"], "epochs": 31}}, STEP_0, BY_NAME)
    assert not same_params(resolved, {**STEP_0, "version": 2}, BY_NAME)
