"""Every command that the code tells somebody to type, collected from its texts: each is accepted as it is written."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from labelseg.cli import program

PACKAGE = Path(__file__).parents[2] / "labelseg"
# What stands for a value that only a run knows; of one module alone with its name in front. A new message needs a line for its values.
VALUES = {
    "fitting.setting": "train-affinity.weights",
    "carry_out.setting": "cam.model",
    **dict.fromkeys(
        ("instance", "result.instance", "last.instance", "ref.instance", "entry.instance", "name", "names[0]", "node.asked"), "propagate"
    ),
    **dict.fromkeys(("ref.split", "last.split", "entry.split", "result.split", "node.split", "able[0]"), "train"),
    **dict.fromkeys(("stage", "stage.name"), "train-segmenter"),
    **dict.fromkeys(("tag", "ref.tag"), "before"),
    "advice.arguments": "train_0000",
    "labor_annotate.params.asked": "ask",
    "ctx.invoked_subcommand": "run",
    "ctx.invoked_subcommand or ''": "run",
    "-(-ENOUGH_UPDATES // length.steps)": "9",
    "command": "annotate",
    "seen.url": "s3://bucket/prefix",
    "split": "train",
    "share": "1",
    "shares": "2",
    "share_records.self.stage": "cam",
    "share_finish.node.instance": "propagate",
    "share_finish.name.instance": "propagate",
    "share_work.node.instance": "propagate",
    "path": "sheet.png",
    "import_masks.stage": "override",
    "human_work.instance": "override",
    "made": " --as sam",
    "table_of(mixed[0])": "segment",
    "seed": "1",
    "then['scenario']": "overlap",
    "listed": "FILE",
    "named": " --with propagate",
    "number": "",
    "image": "train_0000",
    "'val' if shown.labelled else 'train'": "train",
    "f' --{_dashed(name)} {value:g}' if name else ''": " --epochs 3",
    "SPLIT_FIRST if chain == 'few-masks' else ''": "",
}
WORDS = {
    "FILE": "file",
    "PATH": "file",
    "FILE.safetensors": "m.safetensors",
    "DIR": "out",
    "FOLDER": "photos",
    "NAME": "x",
    "N": "2",
    "SPLIT": "train",
    "STAGE": "cam",
    "IMAGE": "train_0000",
}
# Texts that name no command to type: other sentences, and what `labelseg.commands.advice` puts together of them.
OTHERWISE = {
    "labelseg bits",
    "labelseg -C",
    "labelseg {one_line(record.version)}",
    "labelseg data add",
    "labelseg sweep",
    "labelseg printed",
}
END = re.compile(r"`|\)|; |, |: |\. |\.$|' if | and | or | shows\b| lists\b| printed\b|$")


def told(node):
    """The text of a literal, with the source of values in braces; None for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else f"{{{ast.unparse(v.value)}}}" for v in node.values)
    return None


def texts(path):
    """The texts of a module that may reach a person: no docstrings."""
    tree = ast.parse(path.read_text())
    kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
    documents = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, kinds) and isinstance(node.body[0], ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        text = told(node)
        if text and id(node) not in documents | parts:
            yield node.lineno, text


def written_commands(text, module=""):
    """The commands in a text, with values put in; what a person is to replace stays as it is."""
    for start in re.finditer(r"\blabelseg (?=[-a-z{A-Z])", text):
        rest = text[start.start() :]
        if not any(rest.startswith(other) for other in OTHERWISE):
            rest = re.sub(
                r"\{((?:[^{}]|\{[^{}]*\})*)\}",
                lambda m: VALUES.get(f"{module}.{m[1]}", VALUES.get(m[1], f"<{m[1]}>")),
                rest.splitlines()[0],
            )
            yield rest[: END.search(rest).start()]


def collected():
    """Each command with the places that tell it."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for line, text in texts(path):
            for command in written_commands(text, path.stem):
                found.setdefault(command, []).append(f"{path.relative_to(PACKAGE.parent)}:{line}")
    return found


COMMANDS = collected()


def words_of(command):
    """Take a command apart, with something in place of what a person is to replace."""
    return [WORDS.get(word, word) for word in shlex.split(command)[1:]]


def parse(group, name, words, parent=None):
    """Let click read a command line to its end; nothing runs."""
    context = group.make_context(name, list(words), parent=parent)
    if isinstance(group, click.Group):
        rest = [*context._protected_args, *context.args]
        found, command, rest = group.resolve_command(context, rest)
        parse(command, found, rest, context)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder in which what commands name is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in ("photos", "out"):
        (tmp_path / name).mkdir()
    return tmp_path


def accepted(command):
    """Parse a command; --help is one."""
    try:
        parse(program, "labelseg", words_of(command))
    except click.exceptions.Exit as end:
        assert end.exit_code == 0


def test_the_code_tells_commands():
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_a_message_is_accepted_as_it_is_written(command, place):
    assert "<" not in command, f"{COMMANDS[command]}: say in VALUES what stands for it"
    accepted(command)


@pytest.mark.parametrize(
    "text",
    [
        "Run: labelseg evalute",
        "Run: labelseg run --form cam",
        "Give it: labelseg config a b c d",
        "See {x}: labelseg export {instance} --mdoel F",
    ],
)
def test_a_message_with_a_wrong_option_is_found(text, place):
    (command,) = written_commands(text)
    with pytest.raises(click.UsageError):
        accepted(command)


READING = ("status", "log", "verify", "tag", "gc", "evaluate", "show", "--help")


def test_what_only_reads_runs_as_it_is_written(finished_root, place):
    """In a workspace in which everything ran, each of these leads on."""
    shutil.copytree(finished_root, place / "w")
    for words in ("tag before", "refine --crf-iters 0 --no-save --workers 0 --device cpu"):
        assert CliRunner().invoke(program, ["-C", str(place / "w"), *words.split()]).exit_code == 0
    ran = 0
    for command in sorted(COMMANDS, key=lambda written: "--delete" in written):
        words = words_of(command)
        if words and words[0] in READING:
            ran += 1
            done = CliRunner().invoke(program, ["-C", str(place / "w"), *words])
            assert done.exit_code == 0, (command, done.output)
    assert ran > 10
