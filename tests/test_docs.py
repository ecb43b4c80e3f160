"""What is written about the command line is what it is."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from labelseg.cli import program

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
