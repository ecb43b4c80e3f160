"""What is written about the command line is what it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from labelseg.cli import program

DOCS = Path(__file__).parent.parent / "docs"


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
