"""The commands of docs/object_store.md, carried out in their order on a server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "object_store.md"


def commands() -> list[str]:
    """The lines of the tutorial that work in the shell in which a workspace is made."""
    tutorial = PAGE.read_text().partition("## In earnest")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", tutorial, re.DOTALL) for line in block.splitlines()]
    return [line for line in lines if line.startswith(("labelseg", "mkdir", "curl"))]


@pytest.mark.cluster
def test_the_page_does_what_it_says(tmp_path, server):
    shell = f'labelseg() {{ "{sys.executable}" -m labelseg "$@"; }}\n'
    told = []
    for line in commands():
        line = line.replace("http://127.0.0.1:5555", f"http://127.0.0.1:{server.port}").replace("curl", "curl -s")
        done = subprocess.run(["bash", "-ec", shell + line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        told.append(done.stdout + done.stderr)
    status, again, scores = told[-3:]
    assert re.search(r"train-classifier +fresh", status) and re.search(r"cam +train +fresh", status)
    assert "cam (train) is fresh: nothing to do." in again
    assert "cam" in scores
