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
    "image_id": "train_0000",
    "f'{table_of(mixed[0])}.precision'": "segment.precision",
    "shares": "2",
    "share_records.self.stage": "cam",
    "share_finish.node.instance": "propagate",
    "share_finish.name.instance": "propagate",
    "share_work.node.instance": "propagate",
    "path": "sheet.png",
    "import_masks.stage": "override",
    "human_work.instance": "override",
    "made": " --as sam",
    "seed": "1",
    "max(USUAL_SIDE, usual)": "512",
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
QUOTED = re.compile(r"(?:shlex\.quote|str)\((.*)\)")
VALUE = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*)\}")
END = re.compile(r"`|\)|; |, |: |\. |\.$|' if | and | or | shows\b| lists\b| printed\b|$")


def told(node):
    """The text of a literal, with the source of values in braces, or of what ``command_on`` writes; None for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "command_on":
        verb, instance, *rest = [argument(word) for word in node.args if not isinstance(word, ast.Starred)]
        split, *words = rest or [""]
        return " ".join(["labelseg", verb, instance, *(["--split", split] if split else []), *words])
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else f"{{{ast.unparse(v.value)}}}" for v in node.values)
    return None


def argument(node):
    """A word of a command: what it is, or its source in braces."""
    return node.value if isinstance(node, ast.Constant) else f"{{{ast.unparse(node)}}}"


def texts(path):
    """The texts of a module that may reach a person: no docstrings."""
    tree = ast.parse(path.read_text())
    kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
    documents = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, kinds) and isinstance(node.body[0], ast.Expr)}
    whole = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node}
    parts = whole - {id(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        text = told(node)
        if text and id(node) not in documents | parts:
            yield node.lineno, text


def value_of(source, module):
    """What stands in a message for a source; quoting changes none of these."""
    while quoted := QUOTED.fullmatch(source):
        source = quoted[1]
    return VALUES.get(f"{module}.{source}", VALUES.get(source, f"<{source}>"))


def templates(text):
    """The commands in a text, with the sources of values in braces."""
    for start in re.finditer(r"\blabelseg (?=[-a-z{A-Z])", text):
        rest = text[start.start() :]
        if not any(rest.startswith(other) for other in OTHERWISE):
            line = rest.splitlines()[0]
            hidden = VALUE.sub(lambda m: "{" + "_" * len(m[1]) + "}", line)  # what ends a command may stand in a source
            yield line[: END.search(hidden).start()]


def written_commands(text, module=""):
    """The commands in a text, with values put in; what a person is to replace stays as it is."""
    for template in templates(text):
        yield VALUE.sub(lambda m: value_of(m[1], module), template)


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


# Sources of values that no shell takes apart: names of stages and of tags, numbers, and what is quoted where it is made.
PLAIN = {
    "file_checks.max(USUAL_SIDE, usual)",
    *("stage", "stage.name", "self.stage", "tag", "tags.name", "seed", "setting", "named", "then['scenario']", "demo.instance"),
    *("human_work.instance", "human_work.image", "stage_commands.number", "f' --{_dashed(name)} {value:g}' if name else ''"),
    *("-(-ENOUGH_UPDATES // length.steps)", "ctx.invoked_subcommand", "ctx.invoked_subcommand or ''"),
    *("SPLIT_FIRST if chain == 'few-masks' else ''", "'val' if shown.labelled else 'train'"),
}


def written_by_hand(source, module=""):
    """The values that an f-string of a module puts into a command without quoting them, and each split that it names by itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = told(node)
            yield from re.findall(r"--split \{.*?\}", text)
            for value in (value for template in templates(text) for value in VALUE.findall(template)):
                if not {value, f"{module}.{value}"} & PLAIN and not re.match(r"(shlex\.quote|shlex\.join|command_on|run_command)\(", value):
                    yield value


def splits_named_by_hand(source):
    """The lines on which a module names a split in a command itself: all but declarations of options."""
    tree = ast.parse(source)
    options = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".option", ".Option"))]
    declared = {id(part) for option in options for part in ast.walk(option)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in declared
            and re.search("--split ?$", node.value)
        ):
            yield node.lineno


def modules():
    """Each module of the package with its text."""
    return [(path, path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]


def test_no_message_puts_a_name_into_a_command_as_it_is():
    found = {str(path.relative_to(PACKAGE)): [*written_by_hand(text, path.stem)] for path, text in modules()}
    assert {path: values for path, values in found.items() if values} == {}


def test_one_place_names_splits_in_commands():
    assert [path.name for path, text in modules() if [*splits_named_by_hand(text)]] == ["instances.py"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("f'See: labelseg show {x} --split {y}'", ["--split {y}", "x", "y"]),
        ("f'Name one: --split {refs[0].split}'", ["--split {refs[0].split}"]),
        ("f'Run: labelseg tune --on {able[0]}'", ["able[0]"]),
        ('f"{a}: gone. Run: {command_on(x, y)}, or labelseg cam"', []),
        ("f'Run: labelseg config {shlex.quote(x)} 1; {y} is left'", []),
        ("f'{y}: labelseg verify --repair {stage}. {z}'", []),
    ],
)
def test_a_name_put_into_a_command_as_it_is_is_found(source, found):
    assert [*written_by_hand(source)] == found


@pytest.mark.parametrize("source", ["[*a, '--split', b]", "a + ' --split ' + b", "' --split '.join(c)", "f' --split {b}'"])
def test_a_split_named_by_hand_is_found(source):
    assert [*splits_named_by_hand(source)] == [1]
    assert [*splits_named_by_hand(f"click.option({source})")] == []


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
