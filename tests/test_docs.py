"""What is written about the command line is what it is."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from labelseg.cli import program
from labelseg.data.folder.images import read_image, read_mask
from tests.stages.test_messages import parse

DOCS = Path(__file__).parent.parent / "docs"
TESTS = Path(__file__).parent


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_the_command_line_is_current():
    assert (DOCS / "cli.md").read_text() == generator().cli_reference(), "run: make docs"


@pytest.mark.parametrize("name", list(program.commands))
def test_every_command_is_in_the_reference(name):
    assert f"\n### labelseg {name}\n" in generator().cli_reference()


def functions(path):
    """Names of the test functions of a file."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_tests_named_in_the_documentation_exist(page):
    text = page.read_text()
    for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:(?:::|` `)(test_\w+))?`", text):
        assert (TESTS.parent / path).is_file(), path
        assert not name or name in functions(TESTS.parent / path), f"{path}::{name}"
    known = set().union(*(functions(path) for path in TESTS.rglob("test_*.py")))
    assert not set(re.findall(r"`(test_\w+)`", text)) - known
    assert text.count("tests/") == len(re.findall(r"`tests/[\w/]+\.py(?:::test_\w+)?`", text)), "a test is named in another way"


def shown_commands():
    """Each command line of labelseg in a block of shell lines, with the page it stands on."""
    for page in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.shlex(line, posix=True, punctuation_chars=True)
                words.whitespace_split = True
                for ends, command in itertools.groupby(words, lambda word: word != "" and set(word) <= set(";|&()<>")):
                    if not ends and (known := list(command))[0] == "labelseg":
                        yield pytest.param(known[1:], id=f"{page.stem}: {shlex.join(known)}")


@pytest.mark.parametrize("command", list(shown_commands()))
def test_every_command_on_a_page_is_accepted_as_it_is_written(command, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, context: Path(value))
    try:
        parse(program, "labelseg", [word.replace("$t", "0.5") for word in command])
    except click.exceptions.Exit as end:
        assert end.exit_code == 0


def test_every_page_is_in_the_table_of_contents_of_the_site():
    listed = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    names = [line for block in listed for line in block.splitlines() if line and not line.startswith(":")]
    assert sorted(names) == sorted({page.stem for page in DOCS.glob("*.md")} - {"index"})


def lines_of_data():
    """The programs that docs/data.md gives, in order: scans, colours, 0 and 255."""
    return re.findall(r"```python\n(.*?)```", (DOCS / "data.md").read_text(), re.DOTALL)


def save(root, name, values, palette=None):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if palette is not None:
        image.putpalette(palette)
    image.save(root / name)


def test_scans_are_scaled_as_documented(tmp_path, monkeypatch):
    save(tmp_path, "scans/s.tif", np.array([[0, 2048, 4095]], np.uint16))
    monkeypatch.chdir(tmp_path)
    exec(lines_of_data()[0], {})
    assert read_image(tmp_path / "photos/s.png")[0, :, 0].tolist() == [0, 127, 255]


def test_masks_in_other_forms_are_rewritten_as_documented(tmp_path, monkeypatch):
    save(tmp_path, "colour_masks/c.png", np.array([[[0, 0, 0], [128, 0, 0], [0, 128, 0], [9, 9, 9]]], np.uint8))
    save(tmp_path, "binary_masks/b.png", np.array([[0, 255]], np.uint8))
    monkeypatch.chdir(tmp_path)
    for program_text in lines_of_data()[1:]:
        exec(program_text, {})
    assert read_mask(tmp_path / "masks/c.png", 3).tolist() == [[0, 1, 2, 255]]
    assert read_mask(tmp_path / "masks/b.png", 2).tolist() == [[0, 1]]


def test_every_recorded_file_is_read_by_some_test():
    folder = Path(__file__).parent
    texts = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    stems = [path.stem for path in (folder / "reference").glob("*/*.np[yz]")] + [
        path.stem for path in (folder / "reference").glob("*/*.json")
    ]
    assert [stem for stem in stems if stem not in texts] == []


def test_tests_that_did_not_run_are_listed(pytestconfig):
    assert "s" in pytestconfig.getoption("reportchars")
