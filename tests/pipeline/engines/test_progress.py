from __future__ import annotations

from labelseg.pipeline.engines import progress


def test_the_time_left_follows_from_what_was_done_since_the_start(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress(1000, "training", 900) as bar:
        bar.update(10)
        now[0] += 40
        bar.update(10)
    assert capsys.readouterr().err == "training: 920 of 1,000, 160 s left\n"
