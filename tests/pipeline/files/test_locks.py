from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from labelseg.errors import LabelsegError, LockedError
from labelseg.pipeline.files import locks
from labelseg.pipeline.files.locks import workspace_lock

HOLD = """
import sys, time
from pathlib import Path
from labelseg.pipeline.files.locks import workspace_lock
with workspace_lock(Path(sys.argv[1]), "labelseg run --until cam"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "voc" / ".labelseg"


@pytest.fixture
def holder(root):
    """Another process that holds the lock."""
    repository = Path(locks.__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(root)], cwd=repository, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_error_names_pid_command_and_since_when(root, holder):
    expected = (
        rf"voc is in use by process {holder.pid} on {platform.node()} \(labelseg run --until cam\) since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
    )
    with pytest.raises(LockedError, match=expected), workspace_lock(root, "labelseg cam", wait=0):
        pass


def test_a_killed_holder_holds_nothing(root, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with workspace_lock(root, "labelseg cam"):
        assert f'"pid": {os.getpid()}' in (root / "locks" / "workspace.json").read_text()


def test_the_lock_can_be_taken_again_after_an_error_inside(root):
    with pytest.raises(ZeroDivisionError), workspace_lock(root, "labelseg run"):
        raise ZeroDivisionError
    with workspace_lock(root, "labelseg run"):
        pass


def test_the_same_process_cannot_take_the_lock_twice(root):
    with (
        workspace_lock(root, "labelseg run"),
        pytest.raises(LockedError, match=rf"process {os.getpid()} on {platform.node()} \(labelseg run\)"),
        workspace_lock(root, "labelseg gc", wait=0),
    ):
        pass


@pytest.mark.parametrize("note", [None, b"", b"[]", b"{}", b"[" * 100_000, b'{"pid": 1}'])
def test_a_holder_without_a_readable_note_is_another_process(root, note):
    path = root / "locks" / "workspace.json"
    with workspace_lock(root, "labelseg run"):
        path.unlink()
        path.write_bytes(note or b"")
        with pytest.raises(LockedError, match="in use by another process"), workspace_lock(root, "labelseg gc", wait=0):
            pass


def test_two_workspaces_do_not_lock_each_other(tmp_path):
    with workspace_lock(tmp_path / "a" / ".labelseg", "labelseg run"), workspace_lock(tmp_path / "b" / ".labelseg", "labelseg run"):
        pass


def test_a_short_holder_is_waited_for_with_a_word_about_it(root, caplog):
    with workspace_lock(root, "labelseg config"):
        pass
    held = FileLock(root / "locks" / "workspace.lock", thread_local=False)
    held.acquire()
    threading.Timer(0.3, held.release).start()
    with workspace_lock(root, "labelseg run", wait=20):
        pass
    assert [record.message for record in caplog.records] == [
        f"{root.parent} is in use by another process. Waiting up to 20 s for it (--no-wait does not) ..."
    ]


def test_a_long_holder_is_waited_for_as_long_as_asked(root, holder):
    started = time.monotonic()
    with pytest.raises(LockedError, match=r"Try again when it has ended"), workspace_lock(root, "labelseg run", wait=0.3):
        pass
    assert 0.3 <= time.monotonic() - started < 5


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(nobody):
    root = nobody / "voc" / ".labelseg"
    root.mkdir(parents=True)
    root.chmod(0o555)
    expected = r"locks: permission denied\..*labelseg run writes to .*voc/\.labelseg"
    with pytest.raises(LabelsegError, match=expected), workspace_lock(root, "labelseg run"):
        pass
