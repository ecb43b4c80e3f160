"""Every stage keeps the contract of a declaration."""

from __future__ import annotations

import importlib
import json
from dataclasses import MISSING, asdict, fields, replace
from typing import get_type_hints

import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.declare.stage import is_effective
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.keys import key_params, params_json
from labelseg.stages import STAGES
from labelseg.training.params import growing_pair

OTHER = {bool: lambda value: not value, int: lambda value: value + 8, float: lambda value: value / 2 + 0.01, str: lambda value: value + "x"}

STAGE_PARAMS = [pytest.param(stage, field, id=f"{stage.name}-{field.name}") for stage in STAGES for field in fields(stage.params)]


def other_value(value):
    """A value of the same type that differs."""
    if isinstance(value, tuple):
        return (*value, OTHER[type(value[0])](value[0]) if value else "x")
    return OTHER[type(value)](value)


def test_names_are_unique():
    assert len({stage.name for stage in STAGES}) == len(STAGES)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_is_named_after_its_module(stage):
    module = importlib.import_module(stage.run.__module__)
    assert stage.run.__module__.rpartition(".")[2] == stage.name.replace("-", "_")
    assert module.STAGE is stage
    assert stage.run is module.run
    assert stage.help.endswith(".")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_params_survive_a_json_round_trip(stage):
    params = stage.params()
    back = json.loads(json.dumps(params_json(params)))
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in back.items()}
    assert stage.params(**tuples) == params


@pytest.mark.parametrize(("stage", "field"), STAGE_PARAMS)
def test_every_param_is_typed_has_help_and_a_default(stage, field):
    assert field.metadata["help"].endswith(".")
    assert field.default is not MISSING
    assert get_type_hints(stage.params)[field.name] in (bool, int, float, str, tuple[float, ...], tuple[int, ...], tuple[str, ...])


@pytest.mark.parametrize(("stage", "field"), STAGE_PARAMS)
def test_a_param_changes_the_key_unless_it_names_what_is_read(stage, field):
    params = next((some for some in neighbours(stage) if is_effective(field, some)), stage.params())
    named_by_content = bool(field.metadata.get("source") or field.metadata.get("split"))
    assert (key(stage, params) == key(stage, changed(params, field))) is named_by_content


@pytest.mark.parametrize(
    ("stage", "field"),
    [
        param
        for param in STAGE_PARAMS
        if param.values[1].metadata.get("effective") and param.values[1].name != "task"  # that is in the key through the classes it names
    ],
)
def test_a_param_without_effect_does_not_change_the_key(stage, field):
    without = [some for some in neighbours(stage) if not is_effective(field, some)]
    assert without
    for params in without[:3]:
        assert key(stage, params) == key(stage, changed(params, field))


def neighbours(stage):
    """The defaults, and parameters of which one is another choice."""
    params = stage.params()
    yield params
    for other in fields(stage.params):
        choices = other.metadata.get("choices") or ((True, False) if isinstance(other.default, bool) else ())
        choices = (0, 1) if other.name == "step" else choices
        yield from (stage.params(**{other.name: choice}) for choice in choices if choice != other.default)


def changed(params, field):
    return replace(params, **{field.name: other_value(asdict(params)[field.name])})


def key(stage, params):
    return key_params(stage, params, lambda path: "digest")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_sources_name_stages_that_come_before(stage):
    before = [other.name for other in STAGES[: STAGES.index(stage)]]
    assert all(stage_of(source.instance) in (*before, "masks") for source in stage.sources(stage.params()))


def test_an_empty_source_is_not_read():
    stage = next(stage for stage in STAGES if stage.name == "propagate")
    assert [source.role for source in stage.sources(stage.params(cam=""))] == ["affinity"]


def test_a_range_has_two_ends_that_do_not_fall():
    assert growing_pair("scale", (0.5, 2.0), "1,2") == (0.5, 2.0)
    assert growing_pair("scale", (1.0, 1.0), "1,2") == (1.0, 1.0)
    for wrong in ((2.0, 0.5), (1.0,), (1.0, 2.0, 3.0), ()):
        with pytest.raises(UsageError, match="scale: expected two growing numbers such as 1,2, got"):
            growing_pair("scale", wrong, "1,2")
