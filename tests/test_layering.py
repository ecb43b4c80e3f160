"""Who may import whom; and no module imports what is above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "labelseg"
LIGHT = {"labelseg.errors", "labelseg.pipeline.stage"}
STANDARD = {"__future__", "collections", "collections.abc", "dataclasses", "typing"}
NETWORKS = {"labelseg.masks", "labelseg.errors", "labelseg.ops", "labelseg.models", "labelseg.data"}
# Layer -> the parts of labelseg that its modules may import, at the top or inside functions.
ALLOWED = {
    "errors": set(),
    "ops": {"labelseg.masks", "labelseg.errors", "labelseg.ops"},
    "models": {"labelseg.masks", "labelseg.errors", "labelseg.ops", "labelseg.models"},
    "data": {"labelseg.masks", "labelseg.errors", "labelseg.data"},
    "training/optimization": NETWORKS,
    "training/checkpoints": NETWORKS,
    "training/ranks": NETWORKS,
    "training/loop": {*NETWORKS, "labelseg.training.optimization", "labelseg.training.checkpoints", "labelseg.training.ranks"},
    "training/samples": {*NETWORKS, "labelseg.pipeline.inputs"},
    "training": {*NETWORKS, "labelseg.pipeline.inputs", "labelseg.training"},
    "pipeline": {"labelseg.errors", "labelseg.pipeline"},
    "inference": {*NETWORKS},
    "semi": {*NETWORKS, "labelseg.pipeline.inputs", "labelseg.training", "labelseg.evaluation", "labelseg.semi"},
    "incremental/samples": {*NETWORKS, "labelseg.pipeline.inputs", "labelseg.training.samples"},
    "incremental/increments": {*NETWORKS, "labelseg.pipeline.inputs", "labelseg.training.samples"},
    "incremental": {*NETWORKS, "labelseg.pipeline.inputs", "labelseg.training", "labelseg.evaluation", "labelseg.incremental"},
}
FOREIGN = {
    "errors": {"torch", "numpy", "zarr", "click", "PIL"},
    "ops": {"zarr", "click", "PIL", "lightning_fabric"},
    "models": {"zarr", "click", "PIL"},
    "data": {"zarr", "click"},
    "pipeline": {"torch", "PIL", "click", "torchvision"},
}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it; what serves type checking alone does not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def files(layer: str) -> list[Path]:
    return sorted((PACKAGE / layer).rglob("*.py")) or [PACKAGE / f"{layer}.py"]


def top_level(path: Path) -> set[str]:
    """Modules that are loaded with a file."""
    return {
        name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_only_what_lies_below(layer):
    for path in files(layer):
        own = {name for name in imports(path) if name.split(".")[0] == "labelseg"}
        wrong = {name for name in own if not any(name == part or name.startswith(f"{part}.") for part in ALLOWED[layer])}
        assert not wrong, f"{path.name} imports {wrong}"


@pytest.mark.parametrize("layer", FOREIGN)
def test_a_layer_keeps_to_its_libraries(layer):
    for path in files(layer):
        assert not {name.split(".")[0] for name in imports(path)} & FOREIGN[layer], path.name


def test_stages_load_nothing_but_their_declarations():
    for path in files("stages"):
        wrong = {n for n in top_level(path) if not (n in LIGHT or n.startswith("labelseg.stages") or n.split(".")[0] in STANDARD)}
        assert not wrong, f"{path.name} imports {wrong}"


def test_no_stage_imports_another_stage():
    shared = {"training_params", "few_mask_params", "__init__"}
    for path in files("stages"):
        if path.stem != "__init__":
            others = {n for n in imports(path) if n.startswith("labelseg.stages.")} - {f"labelseg.stages.{name}" for name in shared}
            assert not others, f"{path.name} imports {others}"


def test_nothing_imports_the_command_line():
    above = ("labelseg.cli", "labelseg.commands")
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name not in ("cli.py", "__main__.py") and path.parent.name != "commands":
            assert not {name for name in imports(path) if name.startswith(above)}, path.name


def test_torchvision_is_imported_in_one_place():
    found = [path.name for path in sorted(PACKAGE.rglob("*.py")) if any(n.split(".")[0] == "torchvision" for n in imports(path))]
    assert found == ["torchvision_shim.py"]
