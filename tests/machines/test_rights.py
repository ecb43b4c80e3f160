"""Another user: who may only read a workspace reads it, what may not be read is named, and nothing is lost or called gone."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.faults.ground.places import HERE, RUN, Places
from benchmarks.faults.ground.processes import Child, Said, call, commands, said
from benchmarks.faults.ground.reading import contents, files
from benchmarks.faults.ground.toys import STAGES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
READS = (("status",), ("evaluate",), ("show", "spread"), ("log",), ("dag",), ("tag", "--list"), ("quality",), ("verify",))
WRITES = (RUN, ("gc",), ("config", "segment.shift", "2"), ("tag", "mine"), ("spread", "--no-save", "--rows", "5", *HERE))


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    return Places(tmp_path_factory.mktemp("rights"))


@pytest.fixture
def root(places) -> Path:
    """A workspace in which everything ran; whatever rights a test takes are given back."""
    root = places.copy("done")
    report(root)  # loads here what the processes of others need
    yield root
    allow(root, 0o644, 0o755)
    places.drop(root)


def report(root: Path) -> None:
    for words in (*READS, ("report", "-o", str(root / ".." / "r.html"))):
        assert call(root, words, STAGES).crash == ""


def allow(folder: Path, file: int, inner: int) -> None:
    """Set the rights to all files and folders below one."""
    os.chmod(folder, 0o755)
    for path in folder.rglob("*"):
        os.chmod(path, inner if path.is_dir() else file)


def unprivileged() -> None:
    """Give up what root alone may: to read and write whatever the rights of a file say."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6)) == 0


def as_other(root: Path, *lines: tuple[str, ...]) -> list[Said]:
    """Call commands as somebody to whom the rights apply."""

    def work() -> list[dict[str, object]]:
        unprivileged()
        return [asdict(call(root, words, STAGES)) for words in lines]

    ended = Child(work).wait()
    assert not (ended.killed or ended.crash), ended
    return [said(value) for value in ended.value]


def test_who_may_only_read_reads_everything_and_writes_nothing(root, tmp_path):
    held, before = contents(root), files(root)
    normal = [call(root, words, STAGES).out for words in READS]
    (root / ".labelseg" / "files.json").write_text("{}")  # every digest is new, and cannot be kept
    for path in (*root.rglob("*"), root):
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    done = as_other(root, *READS, ("report", "-o", str(tmp_path / "r.html")), ("export", "spread", "-o", str(tmp_path / "out")))
    assert [d.crash or d.err.strip() for d in done if d.code] == []
    assert [d.out for d in done[: len(READS)]] == normal
    for refused in as_other(root, *WRITES):
        assert refused.code == 1 and "permission denied. Give yourself the right to it" in refused.last
    os.chmod(root, 0o755)
    allow(root, 0o644, 0o755)
    assert contents(root) == held
    changed = {name for name, value in files(root).items() if before.get(name) != value}
    assert changed <= {".labelseg/files.json"}


def test_what_cannot_be_seen_is_not_called_missing(root):
    os.chmod(root / ".labelseg" / "refs", 0)
    for done in as_other(root, ("tag", "--list"), ("quality",), ("evaluate",), ("export", "spread", "-o", "x")):
        assert done.code == 1
        assert done.last == f"Error: {root}/.labelseg/refs cannot be read: Permission denied. See that it can be read, then try again."


@pytest.mark.parametrize(
    "kind",
    [
        "runs/*/log.jsonl",
        "objects/*/*/*/zarr.json",
        "objects/cam/*/*/zarr.json",
        "**/*",
    ],
)
def test_files_that_cannot_be_read_stop_neither_status_nor_log(root, kind):
    held = contents(root)
    shut = sorted(path for path in (root / ".labelseg").glob(kind) if path.is_file())[::3]
    for path in shut:
        os.chmod(path, 0)
    for done in as_other(root, ("status",), ("log",), ("dag",)):
        assert done.out and not done.crash, done.err
    for path in shut:
        os.chmod(path, 0o644)
    ends = commands(root, [RUN, ("verify",)], STAGES)
    assert [done.code for done in ends] == [0, 0]
    assert contents(root) == held
