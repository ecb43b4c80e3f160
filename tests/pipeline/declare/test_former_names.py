"""A parameter that was given another name is read by its former one too, and goes by that in keys."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.configfile import write_values
from labelseg.pipeline.declare.stage import Stage, like, option, source
from labelseg.pipeline.plan.keys import key_params


@dataclass(frozen=True, kw_only=True)
class Params:
    maps: str = source("walk", help="Maps.", kind="map", formerly="cam")
    steps: int = option(5, help="Steps.", minimum=1, formerly="iters")
    beta: float = option(2.0, help="Sharpness.")


WALK = Stage("walk", 1, "map", Params, lambda inputs, params: None, lambda params: ("image",))


@pytest.fixture
def load(tmp_path):
    """Read a configuration from text and environment."""

    def load(text, **environ):
        (tmp_path / "labelseg.toml").write_text(text)
        return Config.load(tmp_path, (WALK,), environ)

    return load


def test_the_file_may_say_the_former_name(load):
    config = load("[walk]\niters = 7\n[walk.far]\niters = 9\n")
    assert (config.params("walk").steps, config.params("walk@far").steps) == (7, 9)


def test_the_environment_may_say_the_former_name(load):
    config = load("[walk]\nsteps = 7\n[walk.far]\n", LABELSEG_WALK__ITERS="8", LABELSEG_WALK__FAR__ITERS="9")
    assert (config.params("walk").steps, config.params("walk@far").steps) == (8, 9)


def test_each_former_name_is_told_in_one_line_with_the_new_one(load, caplog):
    with caplog.at_level(logging.WARNING):
        load("[walk]\niters = 7\n[walk.far]\ncam = 'walk'\nbeta = 1.0\n", LABELSEG_WALK__ITERS="8")
    assert caplog.messages == [
        "labelseg.toml [walk] iters is called steps now; the old name is read as well.",
        "LABELSEG_WALK__ITERS is called steps now; the old name is read as well.",
        "labelseg.toml [walk.far] cam is called maps now; the old name is read as well.",
    ]


def test_a_wrong_value_is_told_where_it_stands(load):
    with pytest.raises(UsageError, match=r"labelseg.toml \[walk\] iters: expected at least 1, got 0"):
        load("[walk]\niters = 0\n")


def test_both_names_in_one_place_are_refused(load):
    with pytest.raises(UsageError, match=r"labelseg.toml \[walk\]: steps of walk is given twice"):
        load("[walk]\niters = 7\nsteps = 7\n")


def test_what_is_written_replaces_the_former_name(load):
    config = write_values(load("[walk]\niters = 7\n"), "walk", {"steps": 9})
    assert config.path.read_text() == "[walk]\nsteps = 9\n"
    config = write_values(load("[walk]\niters = 7\nbeta = 1.0\n"), "walk", {"iters": 9, "maps": None})
    assert config.tables == {"walk": {"steps": 9, "beta": 1.0}}


def test_a_value_given_on_the_call_may_go_by_the_former_name(load):
    assert load("").params("walk", {"iters": 9}).steps == 9


def test_no_instance_is_called_as_a_parameter_was(load):
    with pytest.raises(UsageError, match="'iters' is a parameter of walk"):
        load("").with_instance("walk@iters")


def test_keys_and_roles_keep_the_former_name():
    assert key_params(WALK, Params(), lambda path: "digest") == {"iters": 5, "beta": 2.0}
    assert [(s.role, s.param) for s in WALK.sources(Params())] == [("cam", "maps")]


def test_a_declaration_like_another_differs_in_what_is_said():
    @dataclass(frozen=True, kw_only=True)
    class Other(Params):
        steps: int = like(Params, "steps", default=50, formerly="")

    assert (Other().steps, Other.__dataclass_fields__["steps"].metadata) == (
        50,
        {**Params.__dataclass_fields__["steps"].metadata, "formerly": ""},
    )
