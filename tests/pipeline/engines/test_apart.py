"""Work in a process of its own: what it returns, what it raises, and what becomes of it when either side is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from labelseg.errors import DataError, LabelsegError
from labelseg.pipeline.engines.apart import run_apart


def add(one, other):
    return one + other, os.getpid()


def refuse(message):
    raise DataError(message)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_it_returns_comes_from_another_process():
    found, pid = run_apart(add, [1], [2])
    assert found == [1, 2]
    assert pid != os.getpid()


def test_what_it_raises_is_raised_here():
    with pytest.raises(DataError, match="no such image"):
        run_apart(refuse, "no such image")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_process_is_told():
    with pytest.raises(LabelsegError, match=r"ended with code -9, .* run the same command again"):
        run_apart(die)


CALLER = """
import os, sys, time
from labelseg.pipeline.engines.apart import run_apart
def work(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(60)
if __name__ == "__main__":
    run_apart(work, sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_ends_with_its_caller(tmp_path):
    (tmp_path / "caller.py").write_text(CALLER)
    caller = subprocess.Popen([sys.executable, tmp_path / "caller.py", tmp_path / "pid"])
    until = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    caller.kill()
    caller.wait()
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("it still runs")
