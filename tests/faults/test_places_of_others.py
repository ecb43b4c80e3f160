"""Links and pipes in the place of files that labelseg writes to: nothing that they lead to changes, and nobody waits."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import labelseg
from labelseg.answers.answer_files import Answer, append_answers
from labelseg.commands.results.outputs import refuse_other_classes
from labelseg.data.folder.images import opened
from labelseg.errors import DataError, UsageError
from labelseg.exchange.readers.array_files import read_arrays
from labelseg.exchange.readers.formats import sniff
from labelseg.file_kinds import open_to_append
from labelseg.pipeline.files.paths import output_below
from labelseg.pipeline.plan.runlog import RunLog

ANSWER = Answer(image="a", y=0, x=0, label="cat")


@pytest.fixture
def victim(tmp_path):
    victim = tmp_path / "elsewhere" / "precious.txt"
    victim.parent.mkdir()
    victim.write_text("the only copy")
    return victim


def test_nothing_is_appended_through_a_link(tmp_path, victim):
    path = tmp_path / "lines"
    path.symlink_to(victim)
    with pytest.raises(OSError, match="it is a link"):
        open_to_append(path)
    path.unlink()
    path.symlink_to(victim.parent / "new.txt")
    with pytest.raises(OSError, match="it is a link"):
        open_to_append(path)
    assert [file.name for file in victim.parent.iterdir()] == ["precious.txt"]
    assert victim.read_text() == "the only copy"


def test_what_is_appended_comes_after_what_is_there(tmp_path):
    path = tmp_path / "lines"
    for line in (b"one\n", b"two\n"):
        with open_to_append(path) as file:
            file.write(line)
    assert path.read_bytes() == b"one\ntwo\n"


def test_answers_are_not_written_through_a_link_nor_through_that_of_their_lock(tmp_path, victim):
    for name in ("ask.jsonl", ".ask.jsonl.lock"):
        folder = tmp_path / f"answers of {name}"
        folder.mkdir()
        (folder / name).symlink_to(victim)
        with pytest.raises((OSError, DataError)):
            append_answers(folder / "ask.jsonl", [ANSWER])
        assert victim.read_text() == "the only copy"


def test_a_folder_of_answers_may_be_a_link(tmp_path, victim):
    (tmp_path / "answers").symlink_to(victim.parent)
    append_answers(tmp_path / "answers" / "ask.jsonl", [ANSWER])
    assert (victim.parent / "ask.jsonl").read_bytes().count(b"\n") == 1


def test_a_run_logs_to_no_link(tmp_path, victim):
    log = RunLog(tmp_path, "20260101-000000-abcdef")
    log.folder.mkdir(parents=True)
    (log.folder / "log.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="it is a link"):
        log.event({"event": "run"})
    assert victim.read_text() == "the only copy"


def test_results_stay_in_the_folder_that_was_named(tmp_path, victim):
    output = tmp_path / "out"
    output.mkdir()
    (output / "masks").symlink_to(victim.parent)
    for names in (("masks", "a.png"), ("..", "a.png"), ("/etc/a.png",)):
        with pytest.raises(UsageError, match="it lies beyond"):
            output_below(output, *names)
    assert output_below(output, "deep", "a.png") == output / "deep" / "a.png"


@pytest.mark.parametrize(
    "read", [lambda path: refuse_other_classes(path.parent, "cam", ("cat",)), read_arrays, sniff, open_to_append, opened]
)
def test_nobody_waits_for_a_pipe(tmp_path, read):
    path = tmp_path / "classes.txt"
    os.mkfifo(path)
    with pytest.raises((OSError, DataError), match=r"named pipe|none of these"):
        read(path)


# Functions that open what nobody else can have put there, or what was looked at before.
SAFE = {
    "read_file": "looks itself",
    "open_to_append": "looks itself",
    "opened": "looks itself",
    "_png_kind": "of an image that was decoded",
    "_birth": "of the system",
    "page_file": "of the package",
    "_kind_of": "was read a moment ago",
    "_write": "made here",
    "refresh": "of no size it is not opened",
    "write_values": "was read a moment ago",
}
LOOKS = {"demand_file", "odd_kind", "read_file", "_demand_file", "is_file", "unlinked", "clear_asides"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Each call below a node, with the name of what is called."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""), node) for node in found]


def opens(name: str, call: ast.Call) -> bool:
    """Whether a call opens a file to read it."""
    if name in ("read_bytes", "read_text"):
        return not call.args
    modes = [arg.value for arg in [*call.args, *(k.value for k in call.keywords)] if isinstance(arg, ast.Constant)]
    return (
        name == "open"
        and isinstance(call.func, ast.Attribute)
        and ((ast.unparse(call.func) == "Image.open" and "BytesIO" not in ast.unparse(call)) or "rb" in modes)
    )


def test_whatever_opens_a_file_looks_first_what_stands_there():
    found = {}
    for path in sorted(Path(labelseg.__file__).parent.rglob("*.py")):
        for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
            inside = calls(function)
            if any(opens(*one) for one in inside) and not LOOKS & {name for name, _ in inside} and function.name not in SAFE:
                found[f"{path.name} {function.name}"] = [ast.unparse(node) for name, node in inside if opens(name, node)]
    assert found == {}
