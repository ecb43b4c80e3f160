from __future__ import annotations

import os
import sys

import pytest

from labelseg.pipeline.engines import progress


def test_the_time_left_follows_from_what_was_done_since_the_start(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress(1000, "training", 900) as bar:
        bar.update(10)
        now[0] += 40
        bar.update(10)
    assert capsys.readouterr().err == "training: 920 of 1,000, 2 min 40 s left\n"


@pytest.mark.parametrize("size", [(0, 0), (80, 0), (0, 24)])
def test_a_terminal_of_unknown_size_is_told_in_lines(monkeypatch, capsys, size):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2, raising=False)
    monkeypatch.setattr(progress.os, "get_terminal_size", lambda descriptor: os.terminal_size(size))
    with progress.show_progress(10, "cam") as bar:
        now[0] += 31
        bar.update(1)
    assert capsys.readouterr().err == "cam: 1 of 10, 4 min 39 s left\n"
