"""Text files that somebody is writing while they are read: read again, or told; never a half of one."""

from __future__ import annotations

import pytest

from labelseg import file_kinds
from labelseg.data.folder.text_files import read_text
from labelseg.errors import DataError, UsageError
from labelseg.file_kinds import ATTEMPTS, read_file
from labelseg.pipeline.declare.config import Config


def written_while_it_is_read(monkeypatch, path, times):
    """Let somebody append a line to a file between its reading and the look at what it is then, so many times."""
    state, looks = file_kinds._state, []

    def seen(file):
        looks.append(1)
        if len(looks) % 2 == 0 and len(looks) <= 2 * times:
            with path.open("a") as other:
                other.write(f"line {len(looks) // 2}\n")
        return state(file)

    monkeypatch.setattr(file_kinds, "_state", seen)
    monkeypatch.setattr(file_kinds, "PAUSE_SECONDS", 0.0)


@pytest.mark.parametrize("times", [0, 1, ATTEMPTS - 1])
def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, monkeypatch, times):
    path = tmp_path / "train.txt"
    path.write_text("line 0\n")
    written_while_it_is_read(monkeypatch, path, times)
    assert read_text(path).splitlines() == [f"line {k}" for k in range(times + 1)]


def test_a_file_that_never_rests_is_told(tmp_path, monkeypatch):
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\n")
    written_while_it_is_read(monkeypatch, path, 99)
    told = "it changes while it is read; try again when it is at rest"
    with pytest.raises(OSError, match=told):
        read_file(path)
    with pytest.raises(DataError, match=rf"labels\.csv: cannot be read: {told}"):
        read_text(path)


def test_a_configuration_that_never_rests_is_told(tmp_path, monkeypatch):
    path = tmp_path / "labelseg.toml"
    path.write_text("[run]\ntarget = 'cam'\n#")
    written_while_it_is_read(monkeypatch, path, 99)
    with pytest.raises(UsageError, match=r"labelseg\.toml cannot be read: it changes while it is read"):
        Config.load(tmp_path, [])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_configuration_is_read_whatever_ends_its_lines(tmp_path, end):
    (tmp_path / "labelseg.toml").write_bytes(f"[run]{end}target = 'cam'{end}".encode())
    assert Config.load(tmp_path, []).run["target"] == "cam"
