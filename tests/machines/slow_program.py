"""The program with a map stage that takes its time, to be interrupted: ``python slow_program.py -C DIR slow --workers 2``."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from labelseg import cli
from labelseg.pipeline.declare.stage import Stage, option


@dataclass(frozen=True, kw_only=True)
class SlowParams:
    start: float = option(0.0, help="Seconds to start.", minimum=0.0)
    seconds: float = option(0.1, help="Seconds an image.", minimum=0.0)
    signal: str = option("", help="Signal that a finaliser sends, where what it raises is lost.", choices=("", "SIGINT", "SIGTERM"))


def slow(inputs, params):
    """Wait."""
    note(f"started {os.getpid()}")
    time.sleep(params.start)

    def compute(item):
        if params.signal:
            Finalised(params.signal)
        time.sleep(params.seconds)
        note(f"computed {item.id}")
        return {"mask": np.zeros((2, 2), np.uint8)}

    return compute


class Finalised:
    """Sends a signal to its own process when it is put away: Python prints what is raised then, and goes on."""

    def __init__(self, name: str) -> None:
        self.number = signal.Signals[name]

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


def note(text: str) -> None:
    """Leave a line for the test."""
    with open(os.environ["SLOW_LOG"], "a") as file:
        file.write(f"{text}\n")


STAGES = (Stage("slow", 1, "map", SlowParams, slow, lambda params: ("image",), has_masks=True),)

if __name__ == "__main__":
    cli.program = cli.make_program(STAGES)
    cli.main()
