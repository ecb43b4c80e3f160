"""Every public class and function of the rooms that compute is described, and so are the shapes of what it takes and returns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "labelseg"
ROOMS = ("ops", "models", "inference", "training", "methods", "stages")
ARRAY = re.compile(r"\b(Tensor|NDArray|ndarray|Array|Pixels)\b")
SIDE = r"(?:len\(\w+\)|[\w'.]+)"
SIZE = rf"{SIDE}(?: ?(?:[-+*/]|or) ?{SIDE})*"  # H, h8, C + 1, H / 4, 1 or 2
SHAPE = re.compile(rf"\({SIZE},(?: {SIZE},?)*\)|\({SIZE}\) float|\(\)|\bscalar|\bshape", re.IGNORECASE)  # (C, h, w), (C,); () is one number

Definition = ast.ClassDef | ast.FunctionDef


def definitions(path: Path) -> Iterator[tuple[str, Definition]]:
    """Public classes and functions of a file, and public methods of these classes."""
    tree = ast.parse(path.read_text())
    outer = [node for node in tree.body if isinstance(node, Definition)]
    inner = [(node.name, method) for node in outer if isinstance(node, ast.ClassDef) for method in node.body]
    for owner, node in [*(("", node) for node in outer), *inner]:
        if isinstance(node, Definition) and not node.name.startswith("_") and not owner.startswith("_"):
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} {owner and owner + '.'}{node.name}", node


def signature(node: ast.FunctionDef) -> str:
    """The types of arguments and result, those of functions among them left out: their arrays are not the caller's."""
    types = [argument.annotation for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    words = " ".join(ast.unparse(kind) for kind in (*types, node.returns) if kind is not None)
    return re.sub(r"Callable\[\[.*?\], .*?\]+", "", words)


FOUND = [pair for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")) for pair in definitions(path)]
FUNCTIONS = [(name, node) for name, node in FOUND if isinstance(node, ast.FunctionDef)]
RUNS = [(name, node) for name, node in FUNCTIONS if name.startswith("stages/") and node.name == "run"]


def test_every_public_class_and_function_is_described():
    assert len(FOUND) > 300
    assert not [name for name, node in FOUND if not ast.get_docstring(node)]


def test_whatever_takes_or_returns_arrays_says_a_shape():
    arrays = [(name, node) for name, node in FUNCTIONS if ARRAY.search(signature(node))]
    assert len(arrays) > 100
    assert not [name for name, node in arrays if not SHAPE.search(ast.get_docstring(node) or "")]


@pytest.mark.parametrize(("name", "node"), RUNS, ids=[name for name, _ in RUNS])
def test_a_stage_says_what_it_writes(name, node):
    written = (ast.get_docstring(node) or "").partition("Returns:")[2].partition("Raises:")[0].partition("Source:")[0]
    returned = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Dict)]
    keys = {key.value for value in returned for key in value.keys if isinstance(key, ast.Constant)}
    assert SHAPE.search(written)
    assert {key for key in keys if f"``{key}``" not in written} == set()
