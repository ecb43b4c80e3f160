"""Ctrl-C and SIGTERM to a real process with real workers: one line, the exit code, no process left, nothing computed lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from slow_program import STAGES

from labelseg.cli import make_program

GOES_ON = "What is finished stays; the same command goes on from there."
ANEW = "The same command begins anew."
OURS = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
# Sends itself a signal when a module is looked for.
LOADING = """
import os, signal, sys
module, name, root = sys.argv[1:]
class Finder:
    def find_spec(self, wanted, path=None, target=None):
        if wanted == module:
            os.kill(os.getpid(), signal.Signals[name])
from labelseg.__main__ import main
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["-C", root, "config"]
main()
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(40):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / f"a{number:02d}.png")
    (tmp_path / "labelseg.toml").write_text('[data]\nimages = "images"\nclasses = ["background", "cat"]\n[run]\ntarget = "slow"\n')
    return tmp_path


def labelseg(root: Path, *words: str) -> Result:
    return CliRunner().invoke(make_program(STAGES), ["-C", str(root), *words])


def lines(root: Path, word: str) -> list[str]:
    """What workers noted."""
    path = root / "log"
    return [line.split()[1] for line in path.read_text().splitlines() if line.startswith(word)] if path.exists() else []


def begin(root: Path, *options: str, command: tuple[str, ...] = ("slow",)) -> subprocess.Popen:
    """Start the program in a group of its own, as a terminal does."""
    words = [sys.executable, Path(__file__).parent / "slow_program.py", "-C", root, *command, "--workers", "2", *options]
    env = {**os.environ, "SLOW_LOG": str(root / "log"), "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(root: Path, word: str, count: int) -> None:
    until = time.monotonic() + 60
    while len(lines(root, word)) < count:
        assert time.monotonic() < until
        time.sleep(0.02)


def running(pids: list[str]) -> list[str]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_ctrl_c_while_workers_start_ends_them_too(root):
    process = begin(root, "--start", "60")
    wait_for(root, "started", 1)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert time.monotonic() - started < 5
    assert (process.returncode, error.splitlines()[-1]) == (130, f"Interrupted. {GOES_ON}")
    assert "Traceback" not in error
    assert running(lines(root, "started")) == []
    assert labelseg(root, "status").stdout.splitlines()[1].split()[:3] == ["slow", "train", "failed"]


def test_sigterm_in_the_middle_keeps_what_is_computed(root):
    process = begin(root)
    wait_for(root, "computed", 6)
    process.terminate()
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error.splitlines()[-1]) == (143, f"Terminated. {GOES_ON}")
    assert "Traceback" not in error
    assert running(lines(root, "started")) == []
    computed = set(lines(root, "computed"))
    plan = labelseg(root, "run", "--dry-run")
    assert f"{40 - len(computed)} of 40 images" in plan.stdout
    assert len(computed) < 40


def test_sigterm_ends_a_share_which_goes_on_from_there(root, monkeypatch):
    monkeypatch.setenv("SLOW_LOG", str(root / "log"))
    share = ("work", "slow", "--shard", "1", "--shards", "2")
    process = begin(root, command=share)
    wait_for(root, "computed", 4)
    process.terminate()
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error.splitlines()[-1]) == (143, f"Terminated. {GOES_ON}")
    assert running(lines(root, "started")) == []
    computed = set(lines(root, "computed"))
    assert len(computed) < 20
    again = labelseg(root, *share, "--workers", "0")
    assert f"{20 - len(computed)} images of 20 computed" in again.stderr


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "Interrupted"), ("SIGTERM", 143, "Terminated")])
def test_what_a_signal_raises_is_not_lost_in_a_finaliser(root, name, code, word):
    process = begin(root, "--workers", "0", "--seconds", "0", "--signal", name)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error.splitlines()[-1]) == (code, f"{word}. {GOES_ON}")
    assert "Traceback" not in error
    assert "Exception ignored" not in error
    assert len(lines(root, "computed")) == 1


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "Interrupted"), ("SIGTERM", 143, "Terminated")])
@pytest.mark.parametrize("module", ["labelseg.cli", "click", "labelseg.stages", "labelseg.commands.running.upkeep"])
def test_a_signal_while_the_program_loads_ends_it_in_one_line(root, module, name, code, word):
    done = subprocess.run([sys.executable, "-c", LOADING, module, name, str(root)], capture_output=True, text=True, env=OURS, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{word}. {ANEW}\n")


def test_a_job_in_the_background_goes_on_ignoring_ctrl_c(root):
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{LOADING}"
    done = subprocess.run([sys.executable, "-c", code, "click", "SIGINT", str(root)], capture_output=True, text=True, env=OURS, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_end_when_their_caller_is_killed(root):
    process = begin(root, "--seconds", "60")
    wait_for(root, "started", 2)
    process.kill()
    process.communicate(timeout=60)
    until = time.monotonic() + 5
    while running(lines(root, "started")) and time.monotonic() < until:
        time.sleep(0.02)
    assert running(lines(root, "started")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["slow", "--help"], ["config"], ["status", "--json"]])
def test_output_that_finds_no_room_is_told_as_such(root, words):
    program = [sys.executable, Path(__file__).parent / "slow_program.py", "-C", root, *words]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with open("/dev/full", "w") as full:
        found = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, env=env, check=False)
    line = "Error: standard output: no space left on device. Send it to a place with room; what was computed stays.\n"
    assert (found.returncode, found.stderr) == (1, line)
