"""Every stage keeps the contract of a declaration."""

from __future__ import annotations

import importlib
import json
from dataclasses import MISSING, fields
from typing import get_type_hints

import pytest
from click.testing import CliRunner

from labelseg.cli import program
from labelseg.errors import UsageError
from labelseg.pipeline.declare.values import read_value
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.keys import params_json
from labelseg.stages import STAGES

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
    known = (bool, int, float, str, tuple[float, ...], tuple[int, ...], tuple[str, ...])
    assert get_type_hints(stage.params)[field.name] in (*known, tuple[int, int], tuple[float, float], tuple[int, int, int])


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
    stage = next(stage for stage in STAGES if stage.name == "train-segmenter")
    assert read_value(stage, "resize", "0.5,2", "resize") == (0.5, 2.0)
    assert read_value(stage, "resize", [1.0, 1.0], "resize") == (1.0, 1.0)
    for wrong, told in (
        ("2,0.5", "range such as 0.75,1.5, got 2.0 before 0.5"),
        ("1", "2 values such as 0.75,1.5"),
        ("", "got none"),
    ):
        with pytest.raises(UsageError, match=told):
            read_value(stage, "resize", wrong, "resize")


@pytest.mark.parametrize(
    ("stage", "given", "told"),
    [
        ("train-unimatch", ("--resize", "2,0.5"), "train-unimatch --resize: expected a range such as 0.5,2.0, got 2.0 before 0.5"),
        ("cam", ("--scales", ""), "cam --scales: expected at least one value, such as 0.5, got none"),
        ("train-affinity", ("--crop", "33"), "train-affinity --crop: expected a multiple of 8, got 33"),
        ("train-affinity", ("--widths", "64,128"), "train-affinity --widths: expected 3 values such as 64,128,256, got 2"),
        ("segment", ("--tile", "100"), "segment --tile: expected a multiple of 64, got 100"),
        ("train-classifier", ("--weights", "nofile.pth"), "nofile.pth: expected the path of a file, or imagenet, or none; there is none"),
        ("train-classifier", ("--weights", "."), "expected the path of a file, or imagenet, or none; it is a folder"),
        ("import-scores", ("--files", "nothing"), "import-scores --files nothing: expected the path of a folder; there is none"),
    ],
)
def test_a_value_that_no_run_can_use_is_not_written(tmp_path, stage, given, told):
    text = "[data.scenes]\ntrain = 1\n"
    (tmp_path / "labelseg.toml").write_text(text)
    for words in ((stage, *given), ("config", f"{stage}.{given[0].strip('-')}", given[1])):
        result = CliRunner().invoke(program, ["-C", str(tmp_path), *words])
        assert result.exit_code == 2 and told in result.output, result.output
    assert (tmp_path / "labelseg.toml").read_text() == text
