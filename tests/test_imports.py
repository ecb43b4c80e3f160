"""Help, status and config load no numerical library, and so start at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "numpy", "zarr", "scipy", "PIL", "torchvision", "lightning_fabric", "matplotlib", "safetensors", "numba")
PROGRAM = f"""
import sys
from labelseg.cli import program
try:
    program(sys.argv[1:], prog_name="labelseg")
except SystemExit as error:
    assert not error.code, error.code
print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A workspace on files that only have to exist."""
    root = tmp_path_factory.mktemp("w")
    (root / "images").mkdir()
    for name in ("a", "b"):
        (root / "images" / f"{name}.jpg").write_bytes(name.encode())
    (root / "labels.csv").write_text("image,labels\na,cat\nb,dog\n")
    (root / "labelseg.toml").write_text('[data]\nimages = "images"\nlabels = "labels.csv"\n\n[run]\ntarget = "segment"\nsplit = "train"\n')
    return root


@pytest.mark.parametrize("words", ["--help", "cam --help", "status", "status --json", "config", "--version"])
def test_light_commands_load_no_numerical_library(workspace, words):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "-C", str(workspace), *words.split()], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_the_package_loads_nothing():
    code = f"import sys, labelseg; print(labelseg.__version__, *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert len(done.stdout.split()) == 1


def test_the_dense_crf_loads_its_compiler_only_when_it_runs():
    code = "import sys, labelseg.ops.crf.dense_crf; print(*[name for name in ('numba', 'torch', 'pydensecrf') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_the_package_names_what_it_offers():
    import labelseg

    assert {"RunOptions", "Workspace", "__version__"} <= set(dir(labelseg))
    assert labelseg.RunOptions(workers=0).workers == 0
    with pytest.raises(AttributeError, match="no attribute 'Workspaces'"):
        _ = labelseg.Workspaces
