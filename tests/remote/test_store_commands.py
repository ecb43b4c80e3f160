"""``[store]`` on the command line: named by ``config``, told by ``status``, cleared by ``gc``; and what docs/object_store.md shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelseg.cli import make_program
from tests.pipeline import toy
from tests.test_imports import PROGRAM

PAGE = Path(__file__).parents[2] / "docs" / "object_store.md"


@pytest.fixture
def root(tmp_path):
    """Files that only have to exist."""
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(name.encode())
    (tmp_path / "labels.csv").write_text("image,labels\na,cat\nb,dog\n")
    (tmp_path / "labelseg.toml").write_text('[data]\nimages = "images"\nlabels = "labels.csv"\n\n[run]\ntarget = "cam"\nsplit = "train"\n')
    return tmp_path


def call(root, *words):
    return CliRunner().invoke(make_program(toy.STAGES), ["-C", str(root), *words], prog_name="labelseg")


def test_a_url_is_named_shown_and_taken_away(root):
    assert call(root, "config", "store.url", "s3://bucket/pets").exit_code == 0
    assert '[store]\nurl = "s3://bucket/pets"' in (root / "labelseg.toml").read_text()
    assert "store.url" in call(root, "config").stdout
    assert call(root, "config", "store.url", "--unset").exit_code == 0
    assert "s3://" not in (root / "labelseg.toml").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["store.url", "/data"], "config: store.url: expected s3://BUCKET/PREFIX"),
        (["store.uri", "s3://bucket/a"], "[store] has no key 'uri'. Did you mean 'url'?"),
    ],
)
def test_what_is_no_url_is_refused(root, words, told):
    done = call(root, "config", *words)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr


def test_an_unknown_key_in_the_file_is_refused(root):
    with (root / "labelseg.toml").open("a") as file:
        file.write('\n[store]\nprefix = "s3://bucket/a"\n')
    done = call(root, "status")
    assert (done.exit_code, "labelseg.toml [store] has no key 'prefix'." in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("option", ["--evict", "--remote"])
def test_gc_of_a_store_needs_one(root, option):
    done = call(root, "gc", option)
    assert (done.exit_code, f"gc {option}: labelseg.toml names no object store." in done.stderr) == (2, True), done.stderr


def test_without_the_library_the_extra_is_named(root, monkeypatch):
    import importlib.util

    call(root, "config", "store.url", "s3://bucket/pets")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = call(root, "status")
    assert (done.exit_code, "Run: pip install 'labelseg[s3]'" in done.stderr) == (1, True), done.stderr


def test_status_with_a_store_loads_no_numerical_library_and_gc_tells_what_it_did(root, server, url):
    assert call(root, "config", "store.url", url).exit_code == 0
    done = subprocess.run([sys.executable, "-c", PROGRAM, "-C", str(root), "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "LOADED"), done.stderr
    done = call(root, "gc", "--evict", "--remote")
    assert done.exit_code == 0, done.stderr
    assert "Removed here, for the object store holds them: 0 parts" in done.stderr
    assert f"Removed from {url}: 0 artifacts, 0 parts, 0 B." in done.stderr


def test_a_run_without_the_server_ends_with_one_line_and_code_7(root, server, url, monkeypatch, caplog):
    assert call(root, "config", "store.url", url).exit_code == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    done = call(root, "cam")
    assert done.exit_code == 7
    assert f"Error: {url}: cannot list refs/: it does not answer. What is finished stays here." in done.stderr
    done = call(root, "status")
    assert (done.exit_code, "What follows is what is known here." in caplog.text) == (0, True), done.stderr


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
