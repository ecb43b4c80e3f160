"""Every stage keeps the contract of a declaration."""

from __future__ import annotations

import importlib
import json
from dataclasses import MISSING, fields
from typing import get_type_hints

import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.keys import params_json
from labelseg.stages import STAGES
from labelseg.training.params import growing_pair

STAGE_PARAMS = [pytest.param(stage, field, id=f"{stage.name}-{field.name}") for stage in STAGES for field in fields(stage.params)]


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


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_no_two_parameters_go_by_one_name_in_keys_or_in_the_file(stage):
    names, former = (
        [f.name for f in fields(stage.params)],
        [f.metadata["formerly"] for f in fields(stage.params) if f.metadata.get("formerly")],
    )
    assert len({*names, *former}) == len(names) + len(former)


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
