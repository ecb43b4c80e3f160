"""Commands in forked processes: what they say, how they end, and what is done to them on the way."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from click import Command

from benchmarks.faults.ground.visiting import visit
from labelseg.pages.serving import local_server
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.files import leaves

HANGS_S = 120.0  # without the time in which a busy machine let it wait
ROWS_FILE = "leaf-rows"  # of a workspace: rows of a leaf, where these are to be fewer than labelseg has
UNFORESEEN = "This was not foreseen"  # what the command line says of errors that nobody explained
USUAL_ROWS = leaves.LEAF_ROWS


@dataclass(frozen=True)
class Said:
    """What one command said.

    Attributes:
        words: The command.
        code: Its exit code.
        out, err: What it wrote.
        crash: Type and message of an exception that is none of labelseg's, also where the command line caught it and could say no more;
            empty where all is as it should be.
    """

    words: tuple[str, ...]
    code: int
    out: str = ""
    err: str = ""
    crash: str = ""

    @property
    def last(self) -> str:
        """The last line that it wrote for a person."""
        return (self.err.strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Ended:
    """How a forked process ended: its value, or why there is none."""

    value: Any = None
    killed: bool = False
    hung: bool = False
    crash: str = ""


@cache
def _program(stages: tuple[Stage, ...]) -> Command:
    """The command line of these stages, made once."""
    from labelseg.cli import make_program

    return make_program(stages)


def call(root: Path, words: Sequence[str], stages: Sequence[Stage]) -> Said:
    """Call the command line in this process; a workspace may have leaves of few rows, and pages that are served are visited once."""
    from click.testing import CliRunner

    local_server.serve = visit  # a server would wait for somebody to visit it
    leaves.LEAF_ROWS = int((root / ROWS_FILE).read_text()) if (root / ROWS_FILE).exists() else USUAL_ROWS
    result = CliRunner().invoke(_program(tuple(stages)), ["-C", str(root), *words], prog_name="labelseg")
    crash = ""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        frames = traceback.extract_tb(result.exception.__traceback__)
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        crash = f"{type(result.exception).__name__}: {result.exception}"[:300] + where
    crash = crash or next((line for line in result.stderr.splitlines() if UNFORESEEN in line), "")
    return Said(tuple(words), result.exit_code, result.stdout, result.stderr, crash)


class Child:
    """A forked process that works and sends back JSON.

    Args:
        work: What to do; its value goes through JSON.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._from, into = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _work(work, into, self._from)
        os.close(into)

    def wait(self, *, kill_after: float | None = None, hangs_after: float = HANGS_S) -> Ended:
        """Wait for the end.

        Args:
            kill_after: Seconds after which to kill it.
            hangs_after: Seconds after which it counts as hung, and is killed; those in which it waited for a processor come on top.
        """
        stop = time.monotonic() + (hangs_after if kill_after is None else kill_after)
        data, stopped, counted = b"", False, 0.0
        while True:
            ready, _, _ = select.select([self._from], [], [], max(0.0, stop - time.monotonic()))
            if not ready and not stopped:
                waited = 0.0 if kill_after is not None else self._waited()
                if waited > counted:
                    stop, counted = stop + waited - counted, waited
                    continue
                os.kill(self.pid, signal.SIGKILL)
                stopped = True
                stop = time.monotonic() + 5
                continue
            block = os.read(self._from, 1 << 16) if ready else b""
            if not block:
                break
            data += block
        os.close(self._from)
        _, status = os.waitpid(self.pid, 0)
        if stopped or os.WIFSIGNALED(status) or not data:
            return Ended(killed=True, hung=stopped and kill_after is None)
        answer = json.loads(data)
        return Ended(answer["value"], crash=answer["crash"])

    def _waited(self) -> float:
        """Seconds that the process was ready to work and others had the processor; 0 where the system does not tell."""
        with suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        return 0.0


def forked(work: Callable[[], Any]) -> Any:
    """Do something in a process of its own and give its value.

    Raises:
        RuntimeError: it was killed, hung, or raised.
    """
    ended = Child(work).wait()
    if ended.killed or ended.crash:
        raise RuntimeError(ended.crash or ("hung" if ended.hung else "killed"))
    return ended.value


def said(value: dict[str, Any]) -> Said:
    """Read what a command said from the value of a process."""
    return Said(**{**value, "words": tuple(value["words"])})


def commands(root: Path, lines: Sequence[Sequence[str]], stages: Sequence[Stage]) -> list[Said]:
    """Call several commands, one after the other, in one forked process; one that hangs ends the list."""
    ended = Child(lambda: [asdict(call(root, words, stages)) for words in lines]).wait()
    if ended.killed or ended.crash:
        return [Said(tuple(lines[0]), -1, crash=ended.crash or ("hung" if ended.hung else "killed"))]
    return [said(value) for value in ended.value]


def _work(work: Callable[[], Any], into: int, unused: int) -> None:
    """The life of a forked process; whatever happens it ends here and never goes on as its parent would."""
    try:
        os.close(unused)
        answer: dict[str, Any] = {"value": None, "crash": ""}
        try:
            answer["value"] = work()
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            answer["crash"] = f"{type(error).__name__}: {error} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"[:400]
        data = json.dumps(answer).encode()
        while data:
            data = data[os.write(into, data) :]
        sys.stdout.flush()
    finally:
        os._exit(0)
