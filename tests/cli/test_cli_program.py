"""What holds for every command: help, suggestions, errors in one line, exit codes."""

from __future__ import annotations

import pytest
import toy_chain
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from conftest import labelseg

from labelseg import __version__, errors
from labelseg.cli import make_program, program
from labelseg.pipeline.declare.values import declared_fields
from labelseg.stages import STAGES

ERRORS = [
    (errors.LabelsegError, 1),
    (errors.UsageError, 2),
    (errors.DataError, 1),
    (errors.ItemsFailedError, 3),
    (errors.NotFreshError, 4),
    (errors.LockedError, 5),
    (errors.WaitingError, 6),
]


def raising(error: BaseException):
    """A program with a command that raises."""
    made = make_program(())

    @made.command("fall")
    def fall() -> None:
        raise error

    return made


@pytest.mark.parametrize("name", list(program.commands))
def test_every_command_has_help(name):
    result = CliRunner().invoke(program, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()[2].strip()) > 20


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_parameter_of_a_stage_is_an_option_with_help(stage):
    command = program.commands[stage.name]
    options = {param.name: param for param in command.params}
    assert len(options) == len(command.params)
    assert all(options[name].help for name in declared_fields(stage))
    spelled = [flag for param in command.params for flag in (*param.opts, *param.secondary_opts)]
    assert len(spelled) == len(set(spelled))


def test_stages_are_listed_in_their_order():
    output = CliRunner().invoke(program, ["--help"]).output
    places = [output.index(f"\n  {stage.name} ") for stage in STAGES]
    assert places == sorted(places)


def test_version():
    assert CliRunner().invoke(program, ["--version"], prog_name="labelseg").output == f"labelseg {__version__}\n"


def test_misspelt_command_is_suggested():
    result = CliRunner().invoke(program, ["propagat"])
    assert result.exit_code == 2
    assert "No such command 'propagat'. Did you mean 'propagate'?" in result.stderr


def test_unknown_command_points_to_help():
    assert "See: labelseg --help" in CliRunner().invoke(program, ["qqqq"]).stderr


def test_misspelt_option_is_suggested():
    result = CliRunner().invoke(program, ["cam", "--scale", "1"])
    assert result.exit_code == 2
    assert "--scales" in result.stderr


@pytest.mark.parametrize(("kind", "code"), ERRORS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_an_error_is_one_line_with_its_exit_code(kind, code):
    result = CliRunner().invoke(raising(kind("cam for a1: expected tags, got none.")), ["fall"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "Error: cam for a1: expected tags, got none.\n")


def test_an_error_of_the_system_is_one_line():
    result = CliRunner().invoke(raising(PermissionError(13, "Permission denied", "x.png")), ["fall"])
    line = "Error: x.png: permission denied. Give yourself the right to it, or work as its owner.\n"
    assert (result.exit_code, result.stderr) == (1, line)


def test_an_error_that_nobody_foresaw_is_one_line_with_its_type_and_the_way_to_its_place():
    result = CliRunner().invoke(raising(KeyError("two\nlines")), ["fall"])
    line = "Error: KeyError: 'two\\nlines'. This was not foreseen; to see where it comes from: labelseg --debug fall\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)
    assert "Traceback" in CliRunner().invoke(raising(KeyError("oops")), ["--debug", "fall"]).stderr


def test_debug_shows_where_an_error_comes_from():
    result = CliRunner().invoke(raising(errors.DataError("broken")), ["--debug", "fall"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: broken\n")


def test_interruption_has_its_exit_code():
    result = CliRunner().invoke(raising(KeyboardInterrupt()), ["fall"])
    assert result.exit_code == 130
    assert result.stderr == "Interrupted. The same command begins anew.\n"


def test_a_folder_without_a_workspace_is_told(tmp_path):
    result = labelseg(tmp_path, "status")
    assert result.exit_code == 2
    assert "labelseg.toml" in result.stderr
    assert "labelseg init" in result.stderr


def completions(root, *words, incomplete=""):
    """What a shell is offered for the word that is being typed."""
    program = make_program(toy_chain.STAGES)
    return [item.value for item in ShellComplete(program, {}, "labelseg", "_X").get_completions(["-C", str(root), *words], incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["show"], "s", ["spread", "segment"]),
        (["evaluate", "cam"], "sp", ["spread"]),
        (["spread", "--cam"], "", ["train-net", "cam", "spread", "segment"]),
        (["spread", "--split"], "", ["train", "val", "all"]),
        (["export", "cam", "--split"], "v", ["val"]),
        (["config"], "spread.", ["spread.cam", "spread.rows"]),
        (["config"], "data.im", ["data.images"]),
        (["run", "--until"], "c", ["cam"]),
        (["run", "--until"], "zz", []),
    ],
)
def test_names_are_completed_as_the_workspace_has_them(finished, words, incomplete, offered):
    assert [word for word in completions(finished, *words, incomplete=incomplete) if word in offered] == offered
    assert all(word.startswith(incomplete) for word in completions(finished, *words, incomplete=incomplete))


@pytest.mark.parametrize("words", [["show"], ["export", "cam", "--split"], ["config"]])
def test_where_there_is_no_workspace_completion_fails_silently(tmp_path, words):
    assert all(word in [stage.name for stage in toy_chain.STAGES] for word in completions(tmp_path, *words))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_options_of_a_stage_stand_in_groups(stage):
    output = CliRunner().invoke(program, [stage.name, "--help"]).output
    titles = [line[:-1] for line in output.splitlines() if line[:1].isalpha() and line.endswith(":")]
    assert titles[-1] == "This call"
    assert "Options" not in titles
    for param in program.commands[stage.name].params:
        assert output.count(f"{param.opts[0]} ") + output.count(f"{param.opts[0]}\n") + output.count(f"{param.opts[0]},") >= 1, param.name


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_example_of_a_stage_runs(stage, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "examples"
    if not root.exists():
        assert labelseg(root, "init", "--scenes", "2", stages=STAGES).exit_code == 0
        assert labelseg(root, "data", "add", "target", "--scenes", "2", stages=STAGES).exit_code == 0
        for step, new in (("0", "target"), ("1", "cross")):
            labelseg(root, "config", f"wilson.{step}.new", new, stages=STAGES)
    output = CliRunner().invoke(program, [stage.name, "--help"]).output
    example = output[output.index("Example: labelseg ") :].split()[2:]
    result = labelseg(root, *example, stages=STAGES)
    assert result.exit_code == 0, result.output
