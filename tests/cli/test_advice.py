"""Every command that a message names is accepted and does what the message promises, whatever the instance is called."""

from __future__ import annotations

import ast
import logging
import os
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import labelseg
from labelseg.cli import make_program
from labelseg.commands.advice import TypedFormatter, as_typed, set_place
from labelseg.pipeline.instances import instance_parts, join_instance, run_command, stage_of, table_of
from tests.pipeline import toy
from tests.pipeline.declare.test_numbered import LINK

PROGRAM = make_program((*toy.STAGES, LINK))
TABLES = '\n[refine.b16]\nalpha = 2.0\n[train-segmenter.b16]\nsplit = "val"\n[link.1]\n[link.x]\n'
MAPS = [("refine", "train"), ("refine", "val"), ("refine@b16", "train"), ("refine@b16", "val")]
SOME = [("refine", "train"), ("refine@b16", "val"), ("link@1", "")]
MODELS = [("train-classifier", ""), ("train-segmenter@b16", ""), ("link@1", ""), ("link@x", "")]
ADVICE = re.compile(r"(?:Run|run|Repair|To make it|Run it by itself|Name the one to reach): (labelseg .*)$", re.MULTILINE)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A workspace in which nothing ran, with named and numbered instances."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("labelseg.data.dataset.open_dataset", lambda root, data: toy.ToyDataset(root))
    root = toy.make(tmp_path / "w", images=2)
    (root / "labelseg.toml").write_text(toy.TOML + TABLES)
    for image_id in ("t000", "t001", "v1", "v2"):
        (root / "masks" / f"{image_id}.txt").write_text("1")
    return root


def call(root: Path, command: str) -> Result:
    """Call the command line, without the word ``labelseg``."""
    return CliRunner().invoke(PROGRAM, ["-C", str(root), *shlex.split(command)])


def follow(root: Path, refused: Result) -> str:
    """Run the command that a message names, as it is written; return it without the folder of the workspace."""
    assert refused.exit_code != 0, refused.output
    command = ADVICE.findall(refused.output)[0]
    done = CliRunner().invoke(PROGRAM, [*shlex.split(command)[1:], "--workers", "0", "--device", "cpu"])
    assert done.exit_code == 0, f"{command}: {done.output}"
    assert command.startswith(f"labelseg -C {root} ")
    return command.replace(f" -C {root}", "", 1)


def made(root: Path, instance: str, split: str) -> list[str]:
    """Bring an instance up to date; return what was computed."""
    assert call(root, run_command(instance, split, numbered="link" if stage_of(instance) == "link" else "")[9:]).exit_code == 0
    return toy.computed(root)


def row(root: Path, instance: str, split: str):
    return next(r for r in toy.ToyWorkspace(root, (*toy.STAGES, LINK)).status() if (r.instance, r.split) == (instance, split))


def manifest_path(root: Path, instance: str, split: str) -> Path:
    ws = toy.ToyWorkspace(root, (*toy.STAGES, LINK))
    return ws.catalog.manifest_path(stage_of(instance), ws.ref(instance, split).key)


def test_names_are_put_together_as_they_are_taken_apart():
    for instance in ("cam", "cam@b16"):
        assert join_instance(*instance_parts(instance)) == instance
    assert (instance_parts("cam"), instance_parts("cam@b16"), stage_of("cam@b16")) == (("cam", ""), ("cam", "b16"), "cam")
    assert (table_of("cam"), table_of("cam@b16")) == ("cam", "cam.b16")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("cam",), "labelseg cam"),
        (("cam@b16", "val"), "labelseg cam --as b16 --split val"),
        (("cam@my b", "a b"), "labelseg cam --as 'my b' --split 'a b'"),
        (("wilson@2",), "labelseg wilson --as 2"),
    ],
)
def test_a_command_is_written_as_it_is_typed(arguments, command):
    assert run_command(*arguments) == command


def test_a_command_says_how_to_run():
    assert run_command("cam", force=True, retrain=True, unsaved=True) == "labelseg cam --force --retrain --no-save"
    assert run_command("wilson@2", numbered="step_at") == "labelseg wilson --step-at 2"
    assert run_command("wilson@x", numbered="step") == "labelseg wilson --as x"
    assert run_command("wilson", numbered="step", force=True) == "labelseg run --until wilson --force wilson"


@pytest.mark.parametrize(("instance", "split"), MAPS)
@pytest.mark.parametrize("words", ["export {} -o {}", "show {}", "evaluate {}"])
def test_what_never_ran_can_be_made(root, tmp_path, instance, split, words):
    words = f"{words.format(instance, tmp_path / 'out')} --split {split}"
    follow(root, call(root, words))
    assert row(root, instance, split).fresh
    assert not ADVICE.search(call(root, words).output)


@pytest.mark.parametrize(("instance", "split"), MODELS)
@pytest.mark.parametrize("words", ["export {} --model {}", "show {}"])
def test_a_model_that_never_ran_can_be_made(root, tmp_path, instance, split, words):
    words = words.format(instance, tmp_path / "model.safetensors")
    follow(root, call(root, words))
    assert row(root, instance, split).fresh
    assert call(root, words).exit_code == 0


def test_a_trial_that_never_ran_can_be_made(root):
    assert follow(root, call(root, "evaluate refine@b16 --unsaved")) == "labelseg refine --as b16 --no-save"
    assert not ADVICE.search(call(root, "evaluate refine@b16 --unsaved").output)


@pytest.mark.parametrize("split", ["train", "val"])
def test_what_only_misses_can_be_made(root, split):
    words = f"refine --as b16 --split {split} --only"
    call(root, "train-classifier")
    assert follow(root, call(root, words)) == f"labelseg cam --split {split}"
    assert call(root, words).exit_code == 0


def test_a_link_that_only_misses_can_be_made(root):
    assert follow(root, call(root, "link --link 1 --only")) == "labelseg link --link 0"
    assert call(root, "link --link 1 --only").exit_code == 0


def test_what_from_misses_can_be_made(root):
    assert follow(root, call(root, "run --from cam")) == "labelseg train-classifier"
    assert call(root, "run --from cam").exit_code == 0


@pytest.mark.parametrize(
    ("instance", "command"), [("refine@b16", "labelseg refine --as b16 --force"), ("link@1", "labelseg link --link 1 --force")]
)
def test_what_the_target_does_not_read_can_be_forced_by_itself(root, instance, command):
    before = made(root, instance, "")
    assert follow(root, call(root, f"run --force {instance}")) == command
    assert toy.computed(root) == [name for name in before if name.startswith(("refine", "link@1"))]


@pytest.mark.parametrize(("instance", "command"), [("refine@new", "labelseg refine --as new"), ("link@7", "labelseg link --link 7")])
def test_an_unknown_instance_can_be_made(root, instance, command):
    assert follow(root, call(root, f"show {instance}")) == command
    assert call(root, f"show {instance}").exit_code == 0


def test_a_chain_is_reached_by_number(root):
    assert follow(root, call(root, "link")) == "labelseg link --link 1"


@pytest.mark.parametrize(("instance", "split"), SOME)
@pytest.mark.parametrize("damage", ["part", "header", "manifest"])
def test_what_is_damaged_can_be_rebuilt(root, instance, split, damage):
    computed = made(root, instance, split)
    path = manifest_path(root, instance, split)
    part = toy.ToyWorkspace(root, (*toy.STAGES, LINK)).catalog.load(stage_of(instance), path.stem).items[0].part
    inside = next((root / ".labelseg" / "objects" / stage_of(instance)).glob(f"*/{part}.zarr"))
    chunk = next(p for p in inside.rglob("c/*") if p.is_file())
    {"part": chunk, "header": inside / "zarr.json", "manifest": path}[damage].write_text("damaged")
    assert follow(root, call(root, "verify")) == f"labelseg verify --repair {stage_of(instance)}"
    assert call(root, "verify").exit_code == 0
    assert set(toy.computed(root)) <= set(computed)
    assert row(root, instance, split).fresh


def test_what_stands_for_several_results_is_rebuilt_once(root):
    assert call(root, "refine --as a --split val").exit_code == call(root, "refine --as b --split val").exit_code == 0
    manifest_path(root, "refine@a", "val").write_text("damaged")
    assert follow(root, call(root, "verify")) == "labelseg verify --repair refine"
    assert call(root, "verify").exit_code == 0


def test_what_is_damaged_and_stands_for_nothing_can_be_removed(root):
    call(root, "train-classifier")
    path = manifest_path(root, "train-classifier", "")
    call(root, "train-classifier --epochs 4")
    path.write_text("damaged")
    assert follow(root, call(root, "verify")) == "labelseg verify --repair train-classifier"
    assert call(root, "verify").exit_code == 0


@pytest.mark.parametrize(("instance", "split"), SOME)
def test_a_damaged_ref_is_told_and_made_again(root, instance, split):
    made(root, instance, split)
    path = toy.ToyWorkspace(root, (*toy.STAGES, LINK)).catalog.ref_path(instance, split)
    path.write_text("damaged")
    assert str(path) in call(root, "status").output
    follow(root, call(root, "verify"))
    assert row(root, instance, split).fresh
    assert toy.computed(root) == []


@pytest.mark.parametrize(("instance", "split"), SOME)
def test_a_manifest_that_is_gone_can_be_made_again(root, instance, split):
    made(root, instance, split)
    manifest_path(root, instance, split).unlink()
    follow(root, call(root, f"show {instance}"))
    assert row(root, instance, split).fresh


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_manifest_that_evaluate_misses_can_be_made_again(root, split):
    made(root, "refine@b16", split)
    manifest_path(root, "refine@b16", split).unlink()
    assert follow(root, call(root, "evaluate refine@b16")) == f"labelseg refine --as b16 --split {split}"
    assert row(root, "refine@b16", split).fresh


@pytest.mark.parametrize(("instance", "split"), SOME)
def test_a_damaged_manifest_of_data_that_changed_can_be_rebuilt(root, instance, split):
    made(root, instance, split)
    manifest_path(root, instance, split).write_text("damaged")
    (root / "tags.json").write_text("{}")
    toy.set_image(root, "t003", 9)
    toy.set_image(root, "v3", 9)
    follow(root, call(root, "verify"))
    assert call(root, "verify").exit_code == 0
    made(root, instance, split)
    assert row(root, instance, split).fresh


@pytest.mark.parametrize(("instance", "split"), [("refine", "val"), ("refine@b16", "train"), ("link@x", "")])
def test_status_names_what_brings_the_first_up_to_date(root, instance, split):
    call(root, "run")
    for other in ("refine@b16", "train-segmenter@b16", "link@0", "link@1", "link@x"):
        made(root, other, "")
    made(root, instance, split)
    manifest_path(root, instance, split).unlink()
    follow(root, call(root, "status --exit-code"))
    assert call(root, "status --exit-code").exit_code == 0


def test_status_names_the_run_where_the_target_reads_what_is_missing(root):
    (root / "labelseg.toml").write_text(toy.TOML)
    assert follow(root, call(root, "status --exit-code")) == "labelseg run"
    toy.set_image(root, "t003", 9)
    assert follow(root, call(root, "status --exit-code")) == "labelseg run --retrain"
    assert call(root, "status --exit-code").exit_code == 0


def typed(text: str, place: str) -> str:
    """Write a message as a command does that works in a place."""
    with click.Context(PROGRAM):
        set_place(Path(place))
        return as_typed(text)


@pytest.mark.parametrize(
    "advice",
    [
        "never ran. Run: {} refine --as b16",
        "Next: {} show cam, or {} run",
        "see `{} show refine --tag a`",
        "remove it ({} tag --delete a), or not",
        "Free some, for one with: {} gc. What is finished stays.",
        "to see where it comes from: {} --debug run",
    ],
)
def test_a_command_is_named_with_the_folder_it_is_for(advice):
    text = advice.format("labelseg", "labelseg")
    assert typed(text, "my w") == advice.format("labelseg -C 'my w'", "labelseg -C 'my w'")
    assert typed(text, ".") == text == as_typed(text)


@pytest.mark.parametrize(
    "text",
    [
        "labelseg run: no space left in w",
        "failed: labelseg run: no space left in w",
        "w is in use by process 7 (labelseg run) since 2026-01-31",
        "asked: labelseg run (refine, train)",
        "see: labelseg.toml, labelseg --help",
        "with: labelseg -C other run",
        "with: labelseg to be made",
    ],
)
def test_what_is_no_advice_stays(text):
    assert typed(text, "w") == text


def test_a_warning_names_commands_with_the_folder_too():
    record = logging.LogRecord("labelseg", logging.WARNING, "", 0, "Tag it first: labelseg %s x", ("tag",), None)
    with click.Context(PROGRAM):
        set_place(Path("w"))
        assert TypedFormatter("%(message)s").format(record) == "Tag it first: labelseg -C w tag x"


def test_text_for_people_is_written_through_one_door():
    """Beside it only JSON, paths of files, names of images and the address of a page reach the output."""
    commands = Path(labelseg.__file__).parent / "commands"
    found = [
        (path.name, ast.unparse(node.args[0]).partition("(")[0])
        for path in sorted(commands.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "click.secho", "click.echo_via_pager", "print")
    ]
    assert {name for name, written in found if written == "as_typed"} == {"context.py"}
    assert {written for name, written in found if name != "context.py"} == {"json.dumps", "os.fsencode", "address"}
