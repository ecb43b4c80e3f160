"""Recipes of an earlier declaration amount to what they would be today."""

from __future__ import annotations

from labelseg.pipeline.plan.keys import key_params
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


def recipe(name, **given):
    """What a planner makes of a stage, without what is read."""
    stage = BY_NAME[name]
    params = stage.params(**given)
    sources = {source.role: {"instance": source.instance, "recipe": None} for source in stage.sources(params)}
    return {
        "stage": name, "version": stage.version, "params": key_params(stage, params, str), "classes": ["cat"], "splits": {},
        "sources": sources,
    }  # fmt: skip


def changes(now, then):
    return [str(reason) for reason in stale_reasons(normal_form(now, BY_NAME), normal_form(then, BY_NAME))]


def test_an_option_that_came_later_is_told_from_the_value_it_had_without_being_given():
    before = recipe("segment")
    assert "tags" not in before["params"]
    assert changes(recipe("segment", tags="given"), before) == ["parameter tags: ignored -> given"]
    assert changes(before, recipe("segment", tags="given")) == ["parameter tags: given -> ignored"]


def test_parameters_that_begin_or_cease_to_count_are_no_changes_beside_the_one_that_lets_them():
    off, on = recipe("propagate"), recipe("propagate", guard="refined")
    assert {"guard_factor", "guard_margin"} <= on["params"].keys() - off["params"].keys()
    assert changes(on, off) == ["parameter guard: off -> refined", "guard-masks: nothing -> refine"]
    assert changes(off, on) == ["parameter guard: refined -> off", "guard-masks: refine -> nothing"]
    assert "parameter guard_factor: 2.0 -> 3.0" in changes(recipe("propagate", guard="refined", guard_factor=3.0), off)


def test_a_source_that_lets_parameters_count_is_the_change_that_is_told():
    assert changes(recipe("affinity-labels", guard_masks="refine"), recipe("affinity-labels")) == ["guard-masks: nothing -> refine"]


def test_what_counts_on_one_side_alone_is_told_where_nothing_else_differs():
    now = recipe("segment")
    then = {**now, "params": {name: value for name, value in now["params"].items() if name != "flip"}}
    assert changes(now, then) == ["parameter flip: none -> true"]
