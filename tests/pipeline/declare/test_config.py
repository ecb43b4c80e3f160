"""Where values of parameters come from, and what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.configfile import write_values
from tests.pipeline import toy


def load(root: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    (root / "labelseg.toml").write_text(text)
    return Config.load(root, toy.STAGES, environ or {})


def test_defaults_stand_where_nothing_is_said(tmp_path):
    assert load(tmp_path, "").params("spread") == toy.SpreadParams()


def test_the_file_is_read_with_declared_types(tmp_path):
    params = load(tmp_path, "[cam]\nscales = [1, 2.5]\nflip = false\n[spread]\nbeta = 4\n").params("cam")
    assert params.scales == (1.0, 2.5)
    assert params.flip is False


def test_whole_numbers_serve_as_floats(tmp_path):
    value = load(tmp_path, "[spread]\nbeta = 4\n").params("spread").beta
    assert (value, type(value)) == (4.0, float)


def test_environment_wins_over_file_and_call_over_both(tmp_path):
    config = load(tmp_path, "[spread]\nbeta = 4\n", {"LABELSEG_SPREAD__BETA": "5"})
    assert config.params("spread").beta == 5.0
    assert config.params("spread", {"beta": 6}).beta == 6.0


@pytest.mark.parametrize(
    ("variable", "text", "instance", "name", "value"),
    [
        ("LABELSEG_CAM__SCALES", "1,1.5", "cam", "scales", (1.0, 1.5)),
        ("LABELSEG_CAM__FLIP", "false", "cam", "flip", False),
        ("LABELSEG_CAM__FLIP", "1", "cam", "flip", True),
        ("LABELSEG_TRAIN_CLASSIFIER__EPOCHS", "7", "train-classifier", "epochs", 7),
        ("LABELSEG_SPREAD__B16__RULE", "irn", "spread@b16", "rule", "irn"),
    ],
)
def test_environment_is_read_as_the_declared_type(tmp_path, variable, text, instance, name, value):
    config = load(tmp_path, "[spread.b16]\nbeta = 16\n", {variable: text})
    assert getattr(config.params(instance), name) == value


def test_an_instance_inherits_from_its_stage(tmp_path):
    config = load(tmp_path, '[spread]\nbeta = 4\nrule = "irn"\n[spread.b16]\nbeta = 16\n')
    assert config.params("spread@b16") == toy.SpreadParams(beta=16.0, rule="irn")
    assert config.params("spread") == toy.SpreadParams(beta=4.0, rule="irn")


def test_what_is_said_of_an_instance_wins_over_the_environment_of_its_stage(tmp_path):
    config = load(tmp_path, "[spread.b16]\nbeta = 16\n", {"LABELSEG_SPREAD__BETA": "5"})
    assert config.params("spread@b16").beta == 16.0


def test_instances_are_listed_in_the_order_of_the_stages(tmp_path):
    config = load(tmp_path, "[spread.b16]\nbeta = 16\n[cam.wide]\n")
    assert config.instances() == ["train-classifier", "cam", "cam@wide", "refine", "train-segmenter", "spread", "spread@b16"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[spraed]\n", "unknown table [spraed]. Did you mean 'spread'?"),
        ("[spread]\nbata = 3\n", "no parameter 'bata'. Did you mean 'beta'?"),
        ("[spread.b16]\nbata = 3\n", "[spread.b16] bata"),
        ("[spread]\nbeta = true\n", "[spread] beta: expected a number, got True"),
        ("[spread]\nbeta = nan\n", "expected a finite number"),
        ("[spread]\nbeta = 0.5\n", "expected at least 1.0, got 0.5"),
        ("[spread]\nbeta = 1000\n", "expected at most 100.0, got 1000.0"),
        ('[spread]\nrule = "ism"\n', "expected one of psa, irn, got 'ism'"),
        ("[cam]\nscales = 1.0\n", "expected a list of a number, got 1.0"),
        ("[cam]\nscales = [1.0, -1.0]\n", "expected at least 0.0, got -1.0"),
        ("[train-classifier]\nepochs = 1.5\n", "expected a whole number, got 1.5"),
        ("[train-classifier]\nsplit = 3\n", "expected text, got 3"),
        ("spread = 3\n", "expected a table [spread]"),
        ("[spread\n", "not valid toml"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path, text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("LABELSEG_SPREAD__BATA", "3", "Did you mean 'LABELSEG_SPREAD__BETA'?"),
        ("LABELSEG_SPREAD__BETA", "much", "LABELSEG_SPREAD__BETA: expected a number, got 'much'"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(tmp_path, variable, text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        load(tmp_path, "", {variable: text})


def test_variables_of_no_parameter_are_left_alone(tmp_path):
    load(tmp_path, "", {"LABELSEG_HOME": "/", "PATH": "/bin"})


def test_a_folder_without_a_file_is_no_workspace(tmp_path):
    with pytest.raises(UsageError, match="labelseg init"):
        Config.load(tmp_path, toy.STAGES, {})


@pytest.mark.parametrize(("instance", "message"), [("spraed", "Did you mean 'spread'?"), ("spread@b61", "Did you mean 'spread@b16'?")])
def test_an_unknown_instance_is_refused_with_a_suggestion(tmp_path, instance, message):
    config = load(tmp_path, "[spread.b16]\n")
    with pytest.raises(UsageError, match=re.escape(message)):
        config.params(instance)


def test_writing_keeps_comments_and_everything_else(tmp_path):
    config = write_values(load(tmp_path, toy.TOML), "spread", {"beta": 4})
    assert (tmp_path / "labelseg.toml").read_text() == toy.TOML + "\n[spread]\nbeta = 4.0\n"
    assert config.params("spread").beta == 4.0


def test_writing_an_instance_makes_its_table(tmp_path):
    config = write_values(load(tmp_path, toy.TOML), "cam@wide", {"scales": (1.0, 3.0)})
    assert config.params("cam@wide").scales == (1.0, 3.0)
    assert Config.load(tmp_path, toy.STAGES, {}).tables == config.tables


def test_none_takes_a_value_back(tmp_path):
    config = write_values(load(tmp_path, toy.TOML), "cam", {"scales": None})
    assert config.params("cam").scales == (1.0,)


def test_equal_values_leave_the_file_untouched(tmp_path):
    config = load(tmp_path, toy.TOML)
    before = (tmp_path / "labelseg.toml").stat().st_ino
    write_values(config, "cam", {"scales": (1.0, 2.0)})
    assert (tmp_path / "labelseg.toml").stat().st_ino == before


def test_a_wrong_value_is_not_written(tmp_path):
    config = load(tmp_path, toy.TOML)
    with pytest.raises(UsageError):
        write_values(config, "spread", {"beta": 0.0})
    assert (tmp_path / "labelseg.toml").read_text() == toy.TOML


def test_plain_tables_can_be_written(tmp_path):
    assert write_values(load(tmp_path, toy.TOML), "run", {"target": "cam"}).run == {"target": "cam", "split": "train"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "{a=" * 100_000, "nested too deeply"),
        ("[" + ".".join(["a"] * 100_000) + "]\n", "nested too deeply"),
        (".".join(["a"] * 100_000) + " = 1\n", "nested too deeply"),
        ("[run]\ntarget = 5\n", r"\[run\] target: expected a name, got 5"),
        ("[run]\nsplit = []\n", r"\[run\] split: expected a name, got \[\]"),
        ("[[run]]\n", r"expected a table \[run\]"),
    ],
    ids=["lists", "tables", "table name", "key", "target", "split", "tables of run"],
)
def test_depth_and_other_types_are_refused_at_once(tmp_path, text, expected):
    with pytest.raises(UsageError, match=expected):
        load(tmp_path, text)


def test_long_lists_of_numbers_are_not_deep(tmp_path):
    assert len(load(tmp_path, f"[cam]\nscales = [\n{', '.join(['1.5'] * 500)}\n]\n").params("cam").scales) == 500


def test_a_file_that_is_none_is_told(tmp_path):
    (tmp_path / "labelseg.toml").mkdir()
    with pytest.raises(UsageError, match=r"labelseg\.toml: expected a toml file, found a folder"):
        Config.load(tmp_path, toy.STAGES, {})


def test_a_command_names_a_split_for_a_map_alone(tmp_path):
    (tmp_path / "labelseg.toml").write_text("")
    config = Config.load(tmp_path, toy.STAGES, {})
    assert config.command("cam@b16", "val", force=True) == "labelseg cam --as b16 --split val --force"
    assert config.command("train-classifier", "val", retrain=True) == "labelseg train-classifier --retrain"
    assert config.command("gone", "val", unsaved=True) == "labelseg gone --split val --no-save"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[spread]\nbeta = 3\n\n# Found on photos.\n[run]\ntarget = "cam"\n', "spread"),
        ('[spread]\n\n# Found on photos.\n[run]\ntarget = "cam"\n', "spread"),
        ('[spread.b]\nbeta = 3\n\n\n# Found on photos.\n[run]\ntarget = "cam"\n', "spread@b"),
        ('[spread]\nbeta = 3 # why\n\n# Found on photos.\n[run]\ntarget = "cam"\n', "spread"),
    ],
)
def test_a_comment_stays_above_its_table_when_another_one_grows(tmp_path, text, name):
    config = write_values(load(tmp_path, text), name, {"rule": "irn"})
    written = config.path.read_text()
    assert "# Found on photos.\n[run]\n" in written
    assert written.replace('rule = "irn"\n', "") == text
    assert config.params(name).rule == "irn"
    assert Config.load(tmp_path, toy.STAGES, {}).tables == config.tables


APART = {
    "with others between them": "[spread]\nbeta = 1\n# why\n\n[cam]\nflip = true\n\n[spread.two]\nbeta = 3\n",
    "the named one first": "[spread.two]\nbeta = 3\n\n[cam]\nflip = true\n\n[spread]\nbeta = 1\n",
    "the named one alone": "[spread.two]\nbeta = 3\n\n[cam]\nflip = true\n",
    "two named ones apart": "[spread.one]\nbeta = 2\n[cam]\nflip = true\n[spread.two]\nbeta = 3\n",
}


@pytest.mark.parametrize("text", APART.values(), ids=APART.keys())
@pytest.mark.parametrize("name", ["spread", "spread@two", "spread@new"])
@pytest.mark.parametrize(("key", "value"), [("rule", "irn"), ("beta", 7.0)])
def test_tables_of_a_stage_may_stand_anywhere_in_the_file(tmp_path, text, name, key, value):
    before = tomllib.loads(text)
    changed = write_values(load(tmp_path, text), name, {key: value})
    stage, _, instance = name.partition("@")
    expected = {**before, "spread": {**before["spread"]}}
    if instance:
        expected["spread"][instance] = {**before["spread"].get(instance, {}), key: value}
    else:
        expected["spread"][key] = value
    assert tomllib.loads(changed.path.read_text()) == expected
    again = write_values(changed, name, {key: None})
    table = tomllib.loads(again.path.read_text()).get(stage, {})
    assert key not in (table.get(instance, {}) if instance else table)
    assert set(re.findall("#.*", text)) == set(re.findall("#.*", again.path.read_text()))


@pytest.mark.parametrize("name", ["spread@two", "data"])
def test_what_would_move_other_values_is_refused_and_the_file_stays(tmp_path, name):
    text = "spread.beta = 1\ndata.images = 'a'\ncam.flip = true\n"
    config = load(tmp_path, text)
    if name == "data":
        assert tomllib.loads(write_values(config, name, {"labels": "b"}).path.read_text())["data"] == {"images": "a", "labels": "b"}
        return
    with pytest.raises(UsageError, match=r"leaves no place for beta of spread@two.*\[spread\]"):
        write_values(config, name, {"beta": 2})
    assert config.path.read_text() == text


def test_an_instance_of_a_stage_in_one_line_is_refused(tmp_path):
    config = load(tmp_path, "spread = {beta = 1}\n")
    assert write_values(config, "spread", {"beta": 2}).params("spread").beta == 2
    with pytest.raises(UsageError, match=r"spread is written in one line, .*Write it as \[spread\]"):
        write_values(config, "spread@two", {"beta": 2})


@pytest.mark.parametrize("text", [
    '[data]\nimages = "\\u0000"', '[data]\nsplits = ["a", "b\\u0000"]', '[cam]\nmodel = "a\\u0000b"', '[data]\n"a\\u0000" = 1',
])  # fmt: skip
def test_a_text_that_no_file_can_be_named_by_is_told_with_its_place(tmp_path, text):
    with pytest.raises(UsageError, match=r"labelseg.toml (data|cam|a key).*: expected text, got one with the character of code 0"):
        load(tmp_path, text)
