"""The map of the house: rooms in order, imports that run one way, no room too large, no name for three things."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "labelseg"
# From the ground up. A module imports from rooms above it in this list and from its own one, nothing else: neither inside of a
# function nor for type checking. Rooms of one line do not know each other.
FLOORS = (
    ("working_size",),
    ("errors", "class_ids", "suggestions", "wording", "libraries", "protocols", "file_kinds", "asides"),
    ("ops.crf", "ops.affinity", "ops.few_masks", "ops.new_classes", "ops.active", "ops"),
    ("models.fast", "models.torchvision_shim"),
    ("models.encoders",),
    ("models.heads",),
    ("models",),
    ("data.augment", "data.formats"),
    ("data.folder",),
    ("data.scenes", "data.domains"),
    ("data",),
    ("inference",),
    ("pipeline.files", "pipeline"),
    ("answers", "exchange.shapes"),
    ("exchange.writers", "exchange.readers"),
    ("exchange",),
    ("pipeline.store",),
    ("pipeline.declare",),
    ("pipeline.remote",),
    ("pipeline.plan",),
    ("pipeline.engines",),
    ("pipeline.run",),
    ("pipeline.shares",),
    ("training",),
    ("methods.few_masks", "methods.new_classes", "methods.active", "methods"),
    ("stages",),
    ("workspace",),
    ("results",),
    ("tuning",),
    ("quality",),
    ("pages.parts",),
    ("pages.gallery",),
    ("pages.report", "pages.serving"),
    ("pages.annotation", "pages.view", "pages"),
    ("commands", "commands.answering", "commands.setup", "commands.running", "commands.results", "commands.history"),
    ("cli",),
)
# Rooms of which the code below is no part: what the line says is all they may use, whatever lies lower.
ONLY = {
    "ops": {"errors", "class_ids", "ops"},
    "models": {"errors", "class_ids", "suggestions", "ops", "models"},
    "data": {"errors", "file_kinds", "asides", "class_ids", "suggestions", "wording", "protocols", "working_size", "data"},
    "pipeline": {
        "errors",
        "file_kinds",
        "asides",
        "suggestions",
        "wording",
        "libraries",
        "protocols",
        "working_size",
        "answers",
        "pipeline",
    },
    "inference": {"errors", "file_kinds", "class_ids", "protocols", "ops", "models", "data", "inference"},
    "answers": {"errors", "file_kinds", "suggestions", "protocols", "working_size", "pipeline", "answers"},
}
FOREIGN = {
    "errors": {"torch", "numpy", "zarr", "click", "PIL"},
    "ops": {"zarr", "click", "PIL", "lightning_fabric"},
    "models": {"zarr", "click", "PIL"},
    "data": {"zarr", "click", "torch"},
    "pipeline": {"torch", "PIL", "click", "torchvision"},
    "pipeline.store": {"obstore"},
    "answers": {"torch", "numpy", "PIL", "click", "zarr"},
    "methods": {"zarr", "click"},
    "stages": {"zarr", "click"},
    "results": {"click", "torch"},
    "quality": {"click", "torch"},
    "pages": {"click", "torch", "zarr"},
    "pages.serving": {"click", "torch", "zarr", "numpy"},
}
LIGHT = ("labelseg.errors", "labelseg.pipeline.declare.stage")
PARAMETERS = (
    "labelseg.training.params",
    "labelseg.methods.crf_params",
    "labelseg.methods.guard_params",
    "labelseg.methods.few_masks.few_mask_params",
    "labelseg.methods.new_classes.step_params",
    "labelseg.methods.active.adaptation_params",
    "labelseg.methods.active.selector_params",
    "labelseg.methods.active.choice_params",
    "labelseg.methods.active.answering_params",
)
STANDARD = {"__future__", "collections", "dataclasses", "typing"}
MOST_FILES, MOST_LINES = 12, 400


def module_name(path: Path) -> str:
    """``ops.crf.lattice``; a package is named by its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def nodes(path: Path, *, typing: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports of a file, wherever in it; those that serve type checking alone on request."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and (typing or id(node) not in skipped):
            yield node


def imports(path: Path, *, typing: bool = True) -> set[str]:
    """Modules that a file imports: those of labelseg by their own name, of others the first word."""
    found = set()
    for node in nodes(path, typing=typing):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif (node.module or "").split(".")[0] == "labelseg":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner.removeprefix("labelseg.") in MODULES else str(node.module))
        else:
            found.add(node.module or "")
    return found


def own_imports(module: str) -> set[str]:
    """Modules of labelseg that one of them imports, as ``ops.cam``."""
    return {n.removeprefix("labelseg.") for n in imports(MODULES[module]) if n.startswith("labelseg.")}


def floor(module: str) -> tuple[int, str]:
    """Number and name of the room that a module belongs to: the longest name that fits."""
    rooms = [(len(room), number, room) for number, rooms in enumerate(FLOORS) for room in rooms if within(module, room)]
    assert rooms, f"{module} belongs to no room: add it to FLOORS, and to the map in docs/design.md"
    _, number, room = max(rooms)
    return number, room


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize("module", [name for name in MODULES if name and name != "__main__"])
def test_imports_run_upwards_only(module):
    number, room = floor(module)
    for imported in own_imports(module):
        below, other = floor(imported)
        assert below < number or other == room or within(room, other) or within(other, room), f"{module} imports {imported}"


def test_no_module_can_be_reached_from_itself():
    graph = {name: own_imports(name) & MODULES.keys() for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " imports ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in sorted(graph[name]):
                visit(imported, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_room_can_be_reached_from_itself():
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        if name and name != "__main__":
            graph.setdefault(floor(name)[1], set()).update(floor(imported)[1] for imported in own_imports(name))
    for room, others in graph.items():
        for other in others - {room}:
            assert room not in graph[other], f"{room} and {other} import each other"


@pytest.mark.parametrize("room", ONLY)
def test_a_room_uses_only_what_it_is_made_of(room):
    for module in MODULES:
        if within(module, room):
            assert {name.split(".")[0] for name in own_imports(module)} <= ONLY[room], module


@pytest.mark.parametrize("room", FOREIGN)
def test_a_room_keeps_to_its_libraries(room):
    for module, path in MODULES.items():
        if within(module, room):
            assert not {name.split(".")[0] for name in imports(path, typing=False)} & FOREIGN[room], module


def top_level(path: Path) -> set[str]:
    """Modules that are loaded with a file."""
    return {
        name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }


@pytest.mark.parametrize("name", [name for name in MODULES if within(name, "stages") or f"labelseg.{name}" in PARAMETERS])
def test_a_declaration_loads_nothing_but_declarations(name):
    for found in top_level(MODULES[name]):
        own = found in (*LIGHT, *PARAMETERS) or within(found, "labelseg.stages")
        assert own or found.split(".")[0] in STANDARD, f"{name} loads {found}"


def test_no_stage_imports_another_stage():
    for module in MODULES:
        if within(module, "stages") and module != "stages":
            assert not any(within(name, "stages") for name in own_imports(module)), module


def test_torchvision_is_imported_in_one_place():
    found = [module for module, path in MODULES.items() if any(n.split(".")[0] == "torchvision" for n in imports(path))]
    assert found == ["models.torchvision_shim"]


def test_no_folder_holds_more_than_a_reader_takes_in():
    root = PACKAGE.parent
    folders = Counter(path.parent for top in ("labelseg", "tests", "benchmarks") for path in (root / top).rglob("*.py"))
    assert not {str(folder): count for folder, count in folders.items() if count > MOST_FILES}


def test_no_file_is_longer_than_a_reader_takes_in():
    assert not {module: n for module, path in MODULES.items() if (n := len(path.read_text().splitlines())) >= MOST_LINES}


def test_no_name_stands_for_three_things():
    """Beside the maths that a stage or a command is named after."""
    files = [module for module, path in MODULES.items() if path.name not in ("__init__.py", "__main__.py")]
    names = Counter(module.rpartition(".")[2] for module in files)
    assert not {name: count for name, count in names.items() if count > 2}


def map_of_the_house() -> str:
    """The section of the design page that shows the rooms, and the two ways through them."""
    return (PACKAGE.parent / "docs" / "design.md").read_text().split("## The map\n")[1]


@pytest.mark.parametrize("room", [room for rooms in FLOORS for room in rooms])
def test_every_room_is_on_the_map(room):
    rows = [line for line in map_of_the_house().splitlines() if line.startswith("| `")]
    named = {word for line in rows for cell in re.findall(r"`([\w/]+)`", line.rpartition("|")[0]) for word in cell.strip("/").split("/")}
    assert set(room.split(".")) <= named


def test_what_the_map_names_is_there():
    steps = [line for line in map_of_the_house().splitlines() if re.match(r"\d+\. ", line)]
    paths = [path for line in steps for path in re.findall(r"`((?!docs)[a-z_]+(?:/[a-z_]+)+)(?:\.py|\.run)?[`(]", line)]
    assert len(paths) > 15
    roots = (PACKAGE, PACKAGE / "pipeline")
    assert not [path for path in paths if not any((root / f"{path}.py").is_file() or (root / path).is_dir() for root in roots)]
