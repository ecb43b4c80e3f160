"""What the machine does to a run is one line, which the status tells too; nothing written is lost, and the same command goes on."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from labelseg.errors import DataError, DiskFullError, ItemsFailedError, LabelsegError, OutOfMemoryError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.engines import worker
from labelseg.pipeline.files import atomic
from labelseg.pipeline.files.mishaps import ANEW, GOES_ON, explained, keep_finished
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.plan.runlog import Marker, Markers, RunLog
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")
NODE = NodeId("noise", "train")


@dataclass(frozen=True, kw_only=True)
class NoParams:
    pass


def noise(inputs, params):
    """Make 80 kB that do not compress."""

    def compute(item):
        toy.note(inputs, f"noise {item.id}")
        if (inputs.dataset.root / "vanish").exists() and item.id == "t003":
            shutil.rmtree(inputs.store.root)
        return {"scores": np.random.default_rng(int(item.image()[0, 0, 0])).random(10_000)}

    return compute


def greedy(inputs, params):
    """Ask for more memory than there is, for one image."""

    def compute(item):
        return {"scores": np.ones(1 << 50 if item.id == "t002" else 1)}

    return compute


STAGES = (
    Stage("noise", 1, "map", NoParams, noise, lambda params: ("image",)),
    Stage("greedy", 1, "map", NoParams, greedy, lambda params: ("image",)),
)


@pytest.fixture
def root(tmp_path) -> Path:
    root = toy.make(tmp_path / "w")
    (root / "labelseg.toml").write_text('[run]\ntarget = "noise"\nsplit = "train"\n')
    return root


def run(root: Path, target: str | None = None):
    return toy.ToyWorkspace(root, STAGES).run(target, options=HERE)


def why(root: Path) -> str:
    """What the status tells first of the first instance."""
    return str(toy.ToyWorkspace(root, STAGES).status()[0].reasons[0])


@contextmanager
def largest_file(count: int):
    """Let no file of this process grow beyond a number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full(monkeypatch, word: str) -> None:
    """Have no room for files whose path holds a word."""
    write = atomic._written_aside

    def refuse(path, data):
        if word in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(atomic, "_written_aside", refuse)


def test_a_file_that_may_not_grow_ends_the_run_at_once_and_the_same_command_goes_on(root):
    with largest_file(200_000), pytest.raises(DiskFullError) as caught:
        run(root)
    line = str(caught.value)
    assert line.startswith("noise (train): a file in ")
    assert "ulimit -f unlimited" in line
    assert "\n" not in line
    assert line in why(root)
    assert run(root).results[-1].action == "computed"
    assert toy.ToyWorkspace(root, STAGES).status()[0].fresh


@pytest.mark.parametrize("word", ["manifests", "refs"])
def test_a_full_disk_names_folder_space_and_remedy(root, monkeypatch, word):
    with monkeypatch.context() as patched, pytest.raises((DiskFullError, OSError)) as caught:
        full(patched, word)
        run(root)
    toy.computed(root)
    line = str(explained(caught.value, "labelseg run", root))
    assert f"no space left in {root}/.labelseg/{word}/" in line
    assert " MB free). Free some, for one with: labelseg gc." in line
    assert run(root).results[-1].action in ("computed", "reused")
    assert toy.computed(root) == []


def test_a_marker_finds_room_on_a_full_disk_where_one_is_already(root, monkeypatch):
    markers = Markers(root / ".labelseg")
    markers.write(NODE, Marker("running", message="x" * 300))
    full(monkeypatch, "markers")
    markers.write(NODE, Marker("failed", message="no space left"))
    assert (markers.read(NODE).state, markers.read(NODE).message) == ("failed", "no space left")


def test_a_log_that_cannot_be_written_loses_nothing(root, monkeypatch):
    def refuse(self, name, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(RunLog, "_append", refuse)
        run(root)
    run(root)
    assert toy.computed(root) == [f"noise t{number:03d}" for number in range(6)]


def test_memory_that_one_image_asks_for_in_vain_costs_that_image(root):
    with pytest.raises(ItemsFailedError) as caught:
        run(root, "greedy")
    assert "greedy for t002: out of memory, 8.00 PiB were asked for. Take fewer processes (--workers 1), smaller images" in str(
        caught.value
    )
    assert caught.value.report.results[-1].total == 6


def test_a_workspace_that_vanishes_is_told_and_nothing_is_published_of_what_is_lost(root, monkeypatch):
    monkeypatch.setattr(worker, "FLUSH_SECONDS", -1.0)  # a part for each image
    (root / "vanish").touch()
    with pytest.raises(LabelsegError, match=r"was deleted while noise ran\. .*run the same command again"):
        run(root)
    (root / "vanish").unlink()
    assert toy.ToyWorkspace(root, STAGES).ref("noise", "train") is None
    run(root)
    assert len(toy.ToyWorkspace(root, STAGES)["noise", "train"]) == 6


def test_a_workspace_can_be_read_without_the_right_to_write(nobody):
    root = toy.make(nobody / "w")
    (root / "labelseg.toml").write_text('[run]\ntarget = "noise"\nsplit = "train"\n')
    run(root)
    for path in (root / ".labelseg").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (root / ".labelseg").chmod(0o555)
    workspace = toy.ToyWorkspace(root, STAGES)
    assert [row.state for row in workspace.status()] == ["fresh"]
    assert len(workspace["noise", "train"]) == 6
    with pytest.raises(LabelsegError, match=r"permission denied\. Give yourself the right to it.* labelseg run writes to "):
        run(root)
    for path in ((root / ".labelseg"), *(root / ".labelseg").rglob("*")):
        path.chmod(0o755)


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes. Error code 12"
TOLD = [
    (MemoryError(), "cam: out of memory. MORE"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "cam: out of memory. MORE"),
    (RuntimeError(ALLOCATOR), "cam: out of memory, 64 bytes were asked for. MORE"),
    (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0"),
        "cam: out of memory of the GPU, 2 GiB were asked for. MORE",
    ),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "cam: out of memory of the GPU. MORE"),
    (
        RuntimeError("can't start new thread"),
        "cam: the system gives no more threads. Take fewer processes (--workers 1), or raise: ulimit -u",
    ),
    (
        OSError(errno.EDQUOT, "Quota", "/w/a/x"),
        f"cam: your quota is used up in /w/a. Free some space there, for one with: labelseg gc. {ANEW}",
    ),
    (OSError(errno.EROFS, "Read-only file system", "/w/a"), "/w/a: read-only file system. Work in a folder that can be written to."),
    (OSError(errno.ENAMETOOLONG, "Too long", b"/w/a"), "/w/a: too long. Choose a shorter name, of at most 255 bytes."),
    (OSError(errno.EMFILE, "Too many", "/w/a"), "/w/a: too many. Raise the number of files a process may have open: ulimit -n 4096"),
    (
        FileNotFoundError(errno.ENOENT, "No", "/w"),
        "cam: /none is gone since the work began. Bring it back, or begin anew with: labelseg init",
    ),
    (DataError("a.png: expected an image."), "a.png: expected an image."),
]


@pytest.mark.parametrize(("error", "expected"), TOLD, ids=[type(error).__name__ for error, _ in TOLD])
def test_what_the_machine_did_is_one_line_with_the_remedy(error, expected):
    keep_finished(False)
    assert str(explained(error, "cam", Path("/none"), "MORE")) == expected


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG, errno.ENOSPC])
def test_a_full_disk_tells_whether_the_same_command_goes_on(number):
    for kept, expected in ((False, ANEW), (True, GOES_ON)):
        keep_finished(kept)
        assert str(explained(OSError(number, "Full", "/w/x"), "cam", Path("/w"))).endswith(f" {expected}")


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("shapes do not fit"), ValueError("a")])
def test_what_no_machine_did_stays_as_it_is(error):
    assert explained(error, "cam", Path("/none")) is None


def test_an_error_of_the_machine_is_caught_as_what_it_is_in_python():
    assert isinstance(explained(MemoryError(), "cam", Path("/none")), OutOfMemoryError | MemoryError)
    assert isinstance(explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "cam", Path("/none")), OSError)
